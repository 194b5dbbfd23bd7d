"""The error of a local-resolution map, defined once; of a rank, of an uncertainty; and how maps are averaged.

Every number is in Å, over the voxels of one map where the mask is True; maps are averaged afterwards, voxels never
pooled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from emres.errors import MapError, UsageError
from emres.model.contract import ONE_SIGMA

Array = np.ndarray[Any, Any]

DECILES = 10


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
    shift : float
        median(prediction) - median(target), Å: above 0 the prediction is too coarse.
    pattern : float
        Mean absolute error once the shift is taken off, Å: what is wrong beside the level.
    """

    mae: float
    rmse: float
    spearman: float
    median_error: float
    within_half: float
    within_one: float
    voxels: int
    shift: float = float("nan")
    pattern: float = float("nan")


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
    MapError
        If the prediction is NaN or infinite where it counts.

    Examples
    --------
    >>> target = np.array([[[3.0, 4.0, 5.0]]])
    >>> map_errors(4.0, target, target > 0).mae
    0.6666666666666666
    """
    said, truth = _counted(prediction, target, mask)
    error = np.abs(said - truth)
    shift = float(np.median(said) - np.median(truth))
    return MapErrors(
        mae=float(error.mean()),
        rmse=float(np.sqrt((error**2).mean())),
        spearman=_spearman(said, truth),
        median_error=abs(shift),
        within_half=float((error <= 0.5).mean()),
        within_one=float((error <= 1).mean()),
        voxels=int(truth.size),
        shift=shift,
        pattern=float(np.abs(said - shift - truth).mean()),
    )


def rank_errors(values: Array, target: Array, mask: Array) -> MapErrors:
    """Measure how a quantity that is no resolution ranks the voxels of a map: all but ``spearman`` is NaN.

    Parameters, errors : as :func:`map_errors`.
    """
    said, truth = _counted(values, target, mask)
    nan = float("nan")
    return MapErrors(nan, nan, _spearman(said, truth), nan, nan, nan, int(truth.size))


def _counted(prediction: Array | float, target: Array, mask: Array) -> tuple[Array, Array]:
    if not mask.any():
        raise UsageError("there is nothing to evaluate", got="an empty mask", expected="voxels with a target")
    said = np.broadcast_to(np.asarray(prediction, dtype=np.float64), target.shape)[mask]
    wrong = int((~np.isfinite(said)).sum())
    if wrong:
        raise MapError("the prediction holds no number", got=f"{wrong} of {said.size} voxels NaN or infinite")
    return said, target[mask].astype(np.float64)


def _spearman(said: Array, truth: Array) -> float:
    varied = np.ptp(said) > 0 and np.ptp(truth) > 0
    return float(stats.spearmanr(said, truth).statistic) if varied else float("nan")


@dataclass(frozen=True)
class Calibration:
    """Whether an uncertainty is as large as the errors, on one map.

    Parameters
    ----------
    within : float
        Share of voxels whose error is at most one sigma; 0.68 is right.
    sigma, share, error : tuple of float
        Of each tenth of the voxels, from the surest on: mean sigma (Å), share within one sigma, and the error (Å) that
        68 % of them do not exceed. Fewer where there are fewer voxels.
    """

    within: float
    sigma: tuple[float, ...]
    share: tuple[float, ...]
    error: tuple[float, ...]


def calibration(prediction: Array, sigma: Array, target: Array, mask: Array) -> Calibration:
    """Compare an uncertainty with the errors that were made.

    Parameters
    ----------
    prediction, sigma, target : (z, y, x) Å
        ``sigma`` is one standard deviation.
    mask : (z, y, x) bool

    Returns
    -------
    Calibration

    Raises
    ------
    UsageError, MapError
        As :func:`map_errors`.

    Examples
    --------
    >>> target = np.full((1, 1, 4), 4.0)
    >>> said = target + np.array([0.1, 0.2, 0.3, 2.0])
    >>> calibration(said, np.full((1, 1, 4), 0.5), target, target > 0).within
    0.75
    """
    said, truth = _counted(prediction, target, mask)
    spread, _ = _counted(sigma, target, mask)
    error = np.abs(said - truth)
    tenths = [part for part in np.array_split(np.argsort(spread, kind="stable"), DECILES) if part.size]
    return Calibration(
        within=float((error <= spread).mean()),
        sigma=tuple(float(spread[part].mean()) for part in tenths),
        share=tuple(float((error <= spread)[part].mean()) for part in tenths),
        error=tuple(float(np.quantile(error[part], ONE_SIGMA)) for part in tenths),
    )


def mean_errors(errors: Sequence[MapErrors]) -> dict[str, float]:
    """Average the errors over maps, each map counting once; ``spearman`` over the maps that have one."""
    return _over_maps(errors, np.mean)


def median_errors(errors: Sequence[MapErrors]) -> dict[str, float]:
    """Return the median of every error over maps; ``spearman`` of the maps that have one."""
    return _over_maps(errors, np.median)


def _over_maps(errors: Sequence[MapErrors], statistic: Any) -> dict[str, float]:
    rows = [asdict(error) for error in errors]
    columns = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}
    finite = {name: values[np.isfinite(values)] for name, values in columns.items()}
    return {name: float(statistic(values)) if values.size else float("nan") for name, values in finite.items()}


def markdown_table(rows: Mapping[str, Mapping[str, float | str | None]], columns: Sequence[str]) -> str:
    """Lay out named rows of numbers, or words, as a Markdown table.

    Examples
    --------
    >>> print(markdown_table({"net": {"mae": 0.5, "maps": 3}}, ["mae", "maps"]))
    |  | mae | maps |
    |---|---|---|
    | net | 0.50 | 3 |
    """
    lines = ["|  | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(_cell(row.get(column)) for column in columns) + " |")
    return "\n".join(lines)


def _cell(value: float | str | None) -> str:
    if isinstance(value, str):
        return value
    if value is None or not np.isfinite(value):
        return "-"
    # Rounding first: a shift of -0.001 is no "-0.00".
    return str(value) if isinstance(value, int) else f"{round(value, 2) + 0.0:.2f}"
