"""From the records of single maps to tables: per map first, then the mean and the median over maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from emres.model.evaluate import MapErrors, mean_errors, median_errors
from emres.run.evaluate_map import LOCAL_RMS, OWN_MEDIAN, STEP
from emres.run.evaluate_model import BLIND, TOLD

Record = Mapping[str, Any]
Table = dict[str, dict[str, Any]]

# Limits between groups of maps, by their median target and by their voxel size, Å.
RESOLUTIONS = (3.0, 4.0, 5.0, 7.0, 10.0)
VOXEL_SIZES = (1.0, 1.5, 2.2, 3.0)
WIDE = 1.5  # Å from the 5th to the 95th percentile: there is a pattern to be found


def density_tables(records: Sequence[Record], density: str) -> dict[str, Any]:
    """Return what was measured on one density of many maps.

    Parameters
    ----------
    records : sequence of dict
        From :func:`emres.run.evaluate_map.measure_row`.
    density : str
        ``average``, or ``map`` for all deposits of an entry, each of which is one map.

    Returns
    -------
    dict
        ``maps``, ``covered``, ``table`` (see :func:`errors_table`), ``wide_maps`` (the same, of maps with a spread
        over 1.5 Å), ``families``, ``resolutions``, ``voxel_sizes`` (see :func:`grouped`), ``calibration``,
        ``histogram``, ``warned`` (maps).
    """
    of = [
        {**record, **found}
        for record in records
        for name, found in record["densities"].items()
        if _class_of(name) == density
    ]
    return {
        "maps": len(of),
        "covered": _mean([found["covered"] for found in of]),
        "table": errors_table(of),
        "wide_maps": errors_table([found for found in of if found["spread"] > WIDE]),
        "families": grouped(of, lambda found: str(found["family"])),
        "resolutions": grouped(of, lambda found: between(found["target"]["median"], RESOLUTIONS)),
        "voxel_sizes": grouped(of, lambda found: between(found["voxel_size"], VOXEL_SIZES)),
        "calibration": {name: told for name in (BLIND, TOLD) if (told := calibration_of(of, name))},
        "histogram": joined_histogram([found["histogram"] for found in of]),
        "warned": sum(bool(found["warnings"]) for found in of),
    }


def _class_of(name: str) -> str:
    return "average" if name == "average" else "map"


def errors_table(found: Sequence[Record]) -> Table:
    """Return mean and median errors by name.

    Returns
    -------
    dict
        Name -> ``maps``, ``mean`` and ``median`` (field of ``MapErrors`` -> Å or share; None where no map has one).
    """
    names = list(dict.fromkeys(name for one in found for name in one["errors"]))
    return {name: _summary([_errors(one["errors"][name]) for one in found if name in one["errors"]]) for name in names}


def _errors(record: Record) -> MapErrors:
    told: dict[str, Any] = {key: float("nan") if value is None else value for key, value in record.items()}
    return MapErrors(**told)


def _summary(errors: Sequence[MapErrors]) -> dict[str, Any]:
    return {"maps": len(errors), "mean": mean_errors(errors), "median": median_errors(errors)}


def grouped(found: Sequence[Record], key: Callable[[Record], str]) -> Table:
    """Return errors by group of maps: ``maps``, and means of ``mae``, ``spearman``, ``shift`` and the own median's."""
    return {name: _group(of) for name, of in in_groups(found, key).items()}


def in_groups(found: Sequence[Record], key: Callable[[Record], str]) -> dict[str, list[Record]]:
    """Return the records of each group, in the order of the ranges or numbers that groups are named by."""
    groups: dict[str, list[Record]] = {}
    for one in found:
        groups.setdefault(key(one), []).append(one)
    return {name: groups[name] for name in sorted(groups, key=_natural)}


def _group(found: Sequence[Record]) -> dict[str, Any]:
    table = errors_table(found)
    mean = table[BLIND]["mean"]
    row = {"maps": len(found), "mae": mean["mae"], "spearman": mean["spearman"], "shift": mean["shift"]}
    if TOLD in table:
        row["mae_told"] = table[TOLD]["mean"]["mae"]
    return {**row, "mae_own_median": table[OWN_MEDIAN]["mean"]["mae"]}


def _natural(name: str) -> tuple[float, str]:
    number = name.lstrip("<>").partition("-")[0].strip()
    order = float(number) if number.replace(".", "", 1).isdigit() else float("inf")
    return order - name.startswith("<") * 1e-3 + name.startswith(">") * 1e-3, name


def between(value: float, limits: Sequence[float]) -> str:
    """Return the name of the range that a value is in.

    Examples
    --------
    >>> between(2.5, (3.0, 4.0)), between(3.0, (3.0, 4.0)), between(7.0, (3.0, 4.0))
    ('< 3', '3 - 4', '> 4')
    """
    k = int(np.searchsorted(limits, value, side="right"))
    if k == 0:
        return f"< {limits[0]:g}"
    return f"> {limits[-1]:g}" if k == len(limits) else f"{limits[k - 1]:g} - {limits[k]:g}"


def calibration_of(found: Sequence[Record], name: str = BLIND) -> dict[str, Any] | None:
    """Return the calibration of a prediction over maps; None where no map has an uncertainty.

    Returns
    -------
    dict
        ``maps``, ``within``, ``within_median``, and by tenth of each map's voxels ``sigma``, ``share``, ``error``: see
        :class:`emres.model.evaluate.Calibration`.
    """
    told = [one["calibration"][name] for one in found if one["calibration"].get(name)]
    if not told:
        return None
    tenths = max(len(one["sigma"]) for one in told)
    columns = {
        name: [_mean([one[name][k] for one in told if k < len(one[name])]) for k in range(tenths)]
        for name in ("sigma", "share", "error")
    }
    within = [one["within"] for one in told]
    return {"maps": len(told), "within": _mean(within), "within_median": float(np.median(within)), **columns}


def joined_histogram(histograms: Sequence[Sequence[Sequence[int]]]) -> dict[str, Any]:
    """Return the histogram of prediction against target over maps, each map counting once.

    Returns
    -------
    dict
        ``step`` (Å) and ``cells``: [bin of the target, bin of the prediction, share in millionths].
    """
    shares: dict[tuple[int, int], float] = {}
    for cells in histograms:
        total = sum(count for _, _, count in cells)
        for row, column, count in cells:
            shares[row, column] = shares.get((row, column), 0.0) + count / total / len(histograms)
    return {"step": STEP, "cells": [[*where, round(1e6 * share, 1)] for where, share in sorted(shares.items())]}


def degradation(records: Sequence[Record]) -> dict[str, Any] | None:
    """Return how much worse the model is on the maps as deposited than on the plain averages of the same entries.

    Returns
    -------
    dict
        ``maps``, ``mean``, ``median`` and ``worst`` of the difference of MAE, Å; None where no entry has both.
    """
    both = [
        (found, record["densities"]["average"])
        for record in records
        for name, found in record["densities"].items()
        if _class_of(name) == "map" and "average" in record["densities"]
    ]
    if not both:
        return None
    told: dict[str, Any] = {"maps": len(both)}
    for name in (BLIND, TOLD):
        more = [
            deposited["errors"][name]["mae"] - plain["errors"][name]["mae"]
            for deposited, plain in both
            if name in deposited["errors"] and name in plain["errors"]
        ]
        if more:
            told[name] = {"mean": _mean(more), "median": float(np.median(more)), "worst": float(max(more))}
    return told


def verdicts(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides whether a model is worth its while, of one density.

    Returns
    -------
    dict
        ``over_own_median``: its MAE over that of each map's own median; ``wide_spearman`` and ``wide_spearman_of_rms``:
        rank correlation on maps with a spread over 1.5 Å, the model's and that of minus the local rms.
    """
    table, wide = tables["table"], tables["wide_maps"]
    if BLIND not in table:
        return {}
    own = table[OWN_MEDIAN]["mean"]["mae"]
    return {
        "over_own_median": table[BLIND]["mean"]["mae"] / own if own else None,
        "wide_maps": wide[BLIND]["maps"] if wide else 0,
        "wide_spearman": wide[BLIND]["mean"]["spearman"] if wide else None,
        "wide_spearman_of_rms": wide[LOCAL_RMS]["mean"]["spearman"] if wide else None,
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
