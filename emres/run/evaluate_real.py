"""Deposited maps with a reported resolution: what a model says of them, against what their authors do."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from emres.archive.mrc import read_mrc
from emres.errors import MapError, UsageError
from emres.run.evaluate_baselines import LOCAL_OVER_GLOBAL
from emres.run.evaluate_model import BLIND, TOLD, Predict
from emres.run.prepare import NO_SIGNAL

Array = np.ndarray[Any, Any]

TABLE = "maps.tsv"
USUAL = (2.5, 4.5)  # Å: where most of the archive's maps are

_ANISOTROPIC = 1.02


@dataclass(frozen=True)
class RealMap:
    """A map file with the resolution that its authors report.

    Parameters
    ----------
    path : Path
    emdb_id : str
    reported : float
        Å.
    """

    path: Path
    emdb_id: str
    reported: float


def read_real_maps(folder: Path | str) -> list[RealMap]:
    """Read which maps of a folder have a reported resolution.

    Parameters
    ----------
    folder : path
        Holds ``maps.tsv``, with the columns ``file``, ``emdb_id`` and ``reported_resolution_A``, and the maps.

    Raises
    ------
    UsageError
        If there is no such table, or none of its maps has one.
    """
    path = Path(folder) / TABLE
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))
        found = [
            RealMap(Path(folder) / row["file"], row["emdb_id"], float(row["reported_resolution_A"]))
            for row in rows
            if re.fullmatch(r"\d+(\.\d+)?", row["reported_resolution_A"] or "")
        ]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise UsageError(
            f"{path} is no table of maps", got=str(error), expected="columns file, emdb_id, reported_resolution_A"
        ) from error
    if not found:
        raise UsageError(f"{path} names no map with a reported resolution")
    return found


def measure_real_map(one: RealMap, predict: Predict, told: bool) -> dict[str, Any]:
    """Predict a real map in the mask that is found on it, blind and, if the model takes it, told the reported value.

    Returns
    -------
    dict
        ``file``, ``emdb_id``, ``reported``, ``voxel_size``, ``shape``, ``medians`` (name -> Å), ``p05``, ``p95`` (Å,
        blind), ``sigma`` (median, Å, or None), ``warnings``; or ``file`` and ``left_out``, why: its voxels are no
        cubes, as those of crystals.

    Raises
    ------
    MapError
        If it cannot be read, or the model answers nowhere.
    """
    volume = read_mrc(one.path)
    sizes = volume.attrs["voxel_size"]
    if max(sizes) > _ANISOTROPIC * min(sizes):
        shown = " x ".join(f"{size:.3g}" for size in sizes)
        return {"file": one.path.name, "left_out": f"voxels of {shown} Å: a crystal, no single particle"}
    blind = predict(volume, None, "auto")
    inside = _answered(blind.resolution, one)
    medians = {BLIND: float(np.median(blind.resolution[inside]))}
    if told:
        answer = predict(volume, one.reported, "auto").resolution
        medians[TOLD] = float(np.median(answer[_answered(answer, one)]))
    p05, p95 = (float(value) for value in np.percentile(blind.resolution[inside], (5, 95)))
    return {
        "file": one.path.name, "emdb_id": one.emdb_id, "reported": one.reported, "voxel_size": float(np.mean(sizes)),
        "shape": list(volume.shape), "medians": medians, "p05": p05, "p95": p95,
        "sigma": None if blind.sigma is None else float(np.median(blind.sigma[inside])),
        "warnings": list(blind.warnings),
    }  # fmt: skip


def _answered(resolution: Array, one: RealMap) -> Array:
    inside = (resolution > 0) & (resolution != NO_SIGNAL)
    if not inside.any() or not np.isfinite(resolution[inside]).all():
        raise MapError(f"the model has no answer for {one.path.name}")
    return np.asarray(inside)


def real_summary(found: Sequence[Mapping[str, Any]], factor: float = LOCAL_OVER_GLOBAL) -> dict[str, Any]:
    """Compare the medians with a multiple of the reported resolution, and with constants chosen on these very maps.

    Parameters
    ----------
    found : sequence of dict
        From :func:`measure_real_map`.
    factor : float
        Local over global resolution.

    Returns
    -------
    dict
        ``factor``; ``all``, ``usual`` (2.5-4.5 Å reported) and ``unwarned`` (blind): ``maps``, by name of prediction
        ``error`` (mean absolute, Å), ``bias`` (mean, Å), ``spearman`` with the reported values; ``best_constant``
        (error of the best constant, Å), ``best_multiple`` (error of the best multiple of the voxel size, Å),
        ``spearman_of_voxel_size``; ``worst``: the maps that are off by over 1 Å.
    """
    usual = [one for one in found if USUAL[0] <= one["reported"] <= USUAL[1]]
    worst = {
        one["file"]: round(one["medians"][BLIND] - factor * one["reported"], 2)
        for one in found
        if abs(one["medians"][BLIND] - factor * one["reported"]) > 1
    }
    unwarned = [one for one in found if not one["warnings"]]
    groups = {"all": found, "usual": usual, "unwarned": unwarned}
    return {"factor": factor, **{name: _compared(some, factor) for name, some in groups.items()}, "worst": worst}


def _compared(found: Sequence[Mapping[str, Any]], factor: float) -> dict[str, Any]:
    if not found:
        return {"maps": 0}
    expected = np.array([factor * one["reported"] for one in found])
    voxels = np.array([one["voxel_size"] for one in found])
    multiples = np.linspace(2, 8, 121)[:, None] * voxels
    told: dict[str, Any] = {}
    for name in found[0]["medians"]:
        medians = np.array([one["medians"][name] for one in found])
        told[name] = {
            "error": float(np.abs(medians - expected).mean()),
            "bias": float((medians - expected).mean()),
            "spearman": _spearman(medians, expected),
        }
    return {
        "maps": len(found),
        **told,
        "best_constant": float(np.abs(np.median(expected) - expected).mean()),
        "best_multiple": float(np.abs(multiples - expected).mean(axis=1).min()),
        "spearman_of_voxel_size": _spearman(voxels, expected),
    }


def _spearman(one: Any, other: Any) -> float | None:
    varied = len(one) > 2 and np.ptp(one) > 0 and np.ptp(other) > 0
    return float(stats.spearmanr(one, other).statistic) if varied else None
