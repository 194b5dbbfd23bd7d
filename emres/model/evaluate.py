"""The error of a local-resolution map, defined once, and the constants that any model has to beat.

Every number is in Å, over the voxels of one map where the mask is True; maps are averaged afterwards, voxels never
pooled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from emres.errors import UsageError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class MapErrors:
    """How far a prediction is from its target, on one map.

    Parameters
    ----------
    mae, rmse : float
        Å.
    spearman : float
        Rank correlation; NaN for a constant.
    median_error : float
        |median(prediction) - median(target)|, Å.
    within_half, within_one : float
        Share of voxels within 0.5 and 1 Å.
    voxels : int
    """

    mae: float
    rmse: float
    spearman: float
    median_error: float
    within_half: float
    within_one: float
    voxels: int


def map_errors(prediction: Array | float, target: Array, mask: Array) -> MapErrors:
    """Measure a prediction on one map.

    Parameters
    ----------
    prediction : (z, y, x) array, or a constant
        Å.
    target : (z, y, x)
        Å.
    mask : (z, y, x) bool
        True where the target counts: in the molecule, finite, not at its clip value.

    Returns
    -------
    MapErrors

    Raises
    ------
    UsageError
        If the mask is empty.

    Examples
    --------
    >>> target = np.array([[[3.0, 4.0, 5.0]]])
    >>> map_errors(4.0, target, target > 0).mae
    0.6666666666666666
    """
    if not mask.any():
        raise UsageError("there is nothing to evaluate", got="an empty mask", expected="voxels with a target")
    truth = target[mask].astype(np.float64)
    said = np.broadcast_to(np.asarray(prediction, dtype=np.float64), target.shape)[mask]
    error = np.abs(said - truth)
    varied = np.ptp(said) > 0 and np.ptp(truth) > 0
    return MapErrors(
        mae=float(error.mean()),
        rmse=float(np.sqrt((error**2).mean())),
        spearman=float(stats.spearmanr(said, truth).statistic) if varied else float("nan"),
        median_error=float(abs(np.median(said) - np.median(truth))),
        within_half=float((error <= 0.5).mean()),
        within_one=float((error <= 1).mean()),
        voxels=int(truth.size),
    )


def mean_errors(errors: Sequence[MapErrors]) -> dict[str, float]:
    """Average the errors over maps, each map counting once; ``spearman`` over the maps that have one."""
    rows = [asdict(error) for error in errors]
    columns = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}
    return {
        name: float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
        for name, values in columns.items()
    }


def markdown_table(rows: Mapping[str, Mapping[str, float]], columns: Sequence[str]) -> str:
    """Lay out named rows of numbers as a Markdown table.

    Examples
    --------
    >>> print(markdown_table({"net": {"mae": 0.5}}, ["mae"]))
    |  | mae |
    |---|---|
    | net | 0.50 |
    """
    lines = ["|  | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        cells = (f"{row[column]:.2f}" if np.isfinite(row[column]) else "-" for column in columns)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
