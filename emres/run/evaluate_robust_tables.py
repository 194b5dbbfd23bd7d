"""How robust a model is, in tables: over maps by change, and over changes by the resolution of maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from emres.run.evaluate_robust import LOOSE
from emres.run.evaluate_tables import between, in_groups

_EDGES = (4.0, 6.0, 10.0)  # Å: ranges of resolution


def robustness_table(found: Sequence[Sequence[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return over maps, by change: ``maps``, ``wanted``, ``worst`` shift and mean ``difference`` (Å), ``kept``.

    ``kept`` is the share of maps whose median moved by no more than is wanted, or whose answer was flagged where the
    change is one that a depositor may make.
    """
    names = list(dict.fromkeys(one["change"] for some in found for one in some))
    table = {}
    for name in names:
        of = [one for some in found for one in some if one["change"] == name]
        shifts = [one["shift"] for one in of if one["shift"] is not None]
        table[name] = {
            "maps": len(of),
            "wanted": of[0]["wanted"],
            "worst": max(shifts, key=abs) if shifts else None,
            "difference": float(np.mean([one["difference"] for one in of if one["shift"] is not None]))
            if shifts else None,
            "warned": sum(one["warned"] for one in of),
            "kept": float(np.mean([_is_kept(one) for one in of])),
        }  # fmt: skip
    return table


def robustness_by_resolution(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return how changes that depositors make move maps of like resolution.

    Parameters
    ----------
    records : sequence of mapping
        ``resolution``, Å, and what :func:`robustness` found: ``changes`` blind, ``told`` (may be empty).

    Returns
    -------
    dict
        By range of resolution: ``maps``, ``within`` (share of shifts that are as wanted), ``kept`` (those, and those
        warned of), and ``within_told``, ``kept_told`` (None where nothing was told).
    """
    table = {}
    for name, of in in_groups(records, lambda one: between(one["resolution"], _EDGES)).items():
        (within, kept), (within_told, kept_told) = (_shares(one[key] for one in of) for key in ("changes", "told"))
        table[name] = {"maps": len(of), "within": within, "kept": kept, "within_told": within_told,
                       "kept_told": kept_told}  # fmt: skip
    return table


def _shares(found: Iterable[Sequence[Mapping[str, Any]]]) -> tuple[float, float] | tuple[None, None]:
    loose = [one for some in found for one in some if one["wanted"] == LOOSE]
    if not loose:
        return None, None
    return float(np.mean([_is_within(one) for one in loose])), float(np.mean([_is_kept(one) for one in loose]))


def _is_within(one: Mapping[str, Any]) -> bool:
    return one["shift"] is not None and abs(one["shift"]) <= one["wanted"]


def _is_kept(one: Mapping[str, Any]) -> bool:
    if _is_within(one):
        return True
    return bool(one["wanted"] == LOOSE and one["warned"] and not one["failed"])
