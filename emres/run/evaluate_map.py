"""One row of a data set, measured: the model and the baselines on each of its densities, as a record of JSON values."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.manifest import DataSet, Row
from emres.archive.store import EntryGroup
from emres.errors import EmresError, MapError, ModelError, UsageError
from emres.model.evaluate import calibration, map_errors, rank_errors
from emres.run.estimate import check_memory
from emres.run.evaluate_baselines import TrainingSide, estimate_of_average, is_target, local_rms
from emres.run.evaluate_model import BLIND, TOLD, Answer, Predict
from emres.run.patch_entries import HALF_MAPS, check_row, density_pyramid, valid_range
from emres.run.prepare import NO_SIGNAL
from emres.volume.grid import Grid, make_volume

if TYPE_CHECKING:
    import xarray as xr

Array = np.ndarray[Any, Any]

OWN_MEDIAN = "own median (constant)"
GLOBAL_FSC = "global FSC of the halves (constant)"
REPORTED = "reported x local/global of training (constant)"
TRAINING_MEDIAN = "training median (constant)"
VOXEL_SIZE = "training median at the voxel size (constant)"
LOCAL_RMS = "minus local rms (rank only)"

# Bins of the histogram of prediction against target, Å.
STEP, COARSEST = 0.25, 30.0

_VOLUMES = 8  # float32, of one map under evaluation, beside what the prediction itself takes


@dataclass(frozen=True)
class Measuring:
    """How maps are measured: the same for all.

    Parameters
    ----------
    predict : callable
        The model; see :class:`emres.run.evaluate_model.ModelUnderTest`.
    training : TrainingSide
    told : bool
        Also with the reported resolution, which the model takes.
    mask : str
        ``auto``: the model answers in the mask that it finds itself. ``target``: wherever there is a target.
    estimators : tuple of str
        One-map methods that stand beside the model.
    device : str
        For the estimators.
    """

    predict: Predict
    training: TrainingSide
    told: bool = False
    mask: str = "auto"
    estimators: tuple[str, ...] = ()
    device: str = "auto"


@dataclass(frozen=True)
class Truth:
    """The target of a row.

    Parameters
    ----------
    target : (z, y, x) float32
        Å.
    counts : (z, y, x) bool
        Where it says something: there, finite, not at its clip value.
    grid : Grid
    """

    target: Array
    counts: Array
    grid: Grid

    @classmethod
    def of(cls, group: EntryGroup, row: Row) -> Truth:
        """Read it.

        Raises
        ------
        MapError
            If it says something nowhere.
        """
        grid = group.grid(row.target)
        check_memory(grid, _VOLUMES)
        target = np.asarray(group.array(row.target)[...], dtype=np.float32)
        low, high = valid_range(group.attributes(row.target), grid)
        counts = np.isfinite(target) & (target > low) & (target < high)
        if not counts.any():
            raise MapError(f"the target of {row.entry} is nowhere within its range", got=f"{low:.3g} to {high:.3g} Å")
        return cls(target, counts, grid)


def measure_row(
    dataset: DataSet, row: Row, how: Measuring, tell: Callable[[str], None] = lambda stage: None
) -> dict[str, Any]:
    """Measure the model and the baselines on every density of a row; one density that fails does not stop the other.

    Parameters
    ----------
    dataset : DataSet
    row : Row
    how : Measuring
    tell : callable
        Told what is under way.

    Returns
    -------
    dict
        ``entry``, ``family``, ``voxel_size``, ``reported``, ``target`` (median, p05, p95 in Å, voxels), ``densities``
        (name -> see :func:`measure_density`), ``failures`` (density -> why), ``notes``.

    Raises
    ------
    EmresError
        If the entry is not what the manifest says.
    """
    if row.lattice:
        raise UsageError(f"{row.entry} is a box of cubes", expected="a whole map", cure="evaluate on another side")
    group = check_row(dataset, row)
    truth = Truth.of(group, row)
    notes: dict[str, str] = {}
    constants = _constants(group, row, how.training, notes)
    record: dict[str, Any] = {
        "entry": row.entry, "family": row.family, "voxel_size": row.voxel_size, "reported": row.reported,
        "shape": list(truth.grid.shape), "target": _spread(truth.target[truth.counts]),
        "densities": {}, "failures": {},
    }  # fmt: skip
    for name in sorted(row.densities):
        tell(name)
        try:
            record["densities"][name] = measure_density(group, row, name, truth, constants, how, notes)
        except EmresError as error:
            record["failures"][name] = str(error)
        except Exception as error:  # a third-party net may raise anything; it is this map's trouble alone
            record["failures"][name] = f"{type(error).__name__}: {error}"
    return {**record, "notes": notes}


def _spread(values: Array) -> dict[str, float | int]:
    p05, median, p95 = (float(value) for value in np.percentile(values, (5, 50, 95)))
    return {"median": median, "p05": p05, "p95": p95, "voxels": int(values.size)}


def _constants(group: EntryGroup, row: Row, training: TrainingSide, notes: dict[str, str]) -> dict[str, float]:
    """Return the constants (Å) that a row is held against, by name; what is not to be had is noted."""
    found: dict[str, float | None] = {
        GLOBAL_FSC: _global_fsc(group, notes),
        REPORTED: None,
        TRAINING_MEDIAN: training.median,
        VOXEL_SIZE: training.at_voxel_size(row.voxel_size),
    }
    if row.reported and training.local_over_global:
        found[REPORTED] = row.reported * training.local_over_global
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


def _global_fsc(group: EntryGroup, notes: dict[str, str]) -> float | None:
    from emres.run.global_fsc import fsc_of_entry

    if not all(group.has(kind) for kind in HALF_MAPS):
        notes[GLOBAL_FSC] = "the entry has no half maps"
        return None
    try:
        fsc = fsc_of_entry(group.path).fsc
        return float(fsc.resolution(0.143, fsc.best))
    except EmresError as error:
        notes[GLOBAL_FSC] = str(error)
        return None


def measure_density(
    group: EntryGroup,
    row: Row,
    name: str,
    truth: Truth,
    constants: Mapping[str, float],
    how: Measuring,
    notes: dict[str, str],
) -> dict[str, Any]:
    """Measure the model and the baselines on one density of a row, all on the same voxels.

    Returns
    -------
    dict
        ``errors`` (name -> :class:`emres.model.evaluate.MapErrors`), ``covered`` (share of the target's voxels where
        the model answers), ``voxels``, ``spread`` (p95 - p05 of the target, Å), ``median`` (predicted, Å),
        ``histogram`` (of the blind prediction), ``calibration`` (by name of prediction), ``warnings``, ``seconds``.

    Raises
    ------
    EmresError
        If the model fails, or answers nowhere where there is a target.
    """
    density = np.asarray(density_pyramid(group, name).array()[:], dtype=np.float32)
    volume = make_volume(density, truth.grid, emdb_id=row.entry)
    start = time.perf_counter()
    answer = how.predict(volume, None, _mask_of(how, truth))
    seconds = time.perf_counter() - start
    counted = truth.counts & (answer.resolution != 0) & (answer.resolution != NO_SIGNAL)
    if not counted.any():
        raise ModelError("the model answers nowhere where there is a target", cure="evaluate with --mask target")
    errors = {BLIND: map_errors(answer.resolution, truth.target, counted)}
    calibrated = {BLIND: _calibrated(answer, truth, counted)}
    if how.told and row.reported:
        told = how.predict(volume, row.reported, _mask_of(how, truth))
        errors[TOLD] = map_errors(told.resolution, truth.target, counted)
        calibrated[TOLD] = _calibrated(told, truth, counted)
    inside = truth.target[counted]
    levels = {OWN_MEDIAN: float(np.median(inside)), **constants}
    errors |= {label: map_errors(value, truth.target, counted) for label, value in levels.items()}
    errors[LOCAL_RMS] = rank_errors(local_rms(density, truth.grid), truth.target, counted)
    if name == "average":
        errors |= _estimated(group, row, density, truth, counted, how, notes)
    spread = _spread(inside)
    return {
        "errors": {label: asdict(found) for label, found in errors.items()},
        "covered": float(counted.sum() / truth.counts.sum()),
        "voxels": int(inside.size),
        "spread": float(spread["p95"] - spread["p05"]),
        "median": float(np.median(answer.resolution[counted])),
        "histogram": histogram(inside, answer.resolution[counted]),
        "calibration": calibrated,
        "warnings": list(answer.warnings),
        "seconds": round(seconds, 3),
    }


def _mask_of(how: Measuring, truth: Truth) -> str | xr.DataArray:
    if how.mask != "target":
        return how.mask
    return make_volume(truth.counts.astype(np.float32), truth.grid)


def _estimated(
    group: EntryGroup, row: Row, average: Array, truth: Truth, counted: Array, how: Measuring, notes: dict[str, str]
) -> dict[str, Any]:
    """Return the errors of one-map methods, over the voxels where they find anything."""
    found = {}
    for method in how.estimators:
        if is_target(row, method):
            continue
        try:
            answer = estimate_of_average(group, average, truth.target > 0, method, how.device)
            found[method] = map_errors(answer, truth.target, counted & (answer > 0))
        except EmresError as error:
            notes[method] = str(error)
    return found


def _calibrated(answer: Answer, truth: Truth, counted: Array) -> dict[str, Any] | None:
    if answer.sigma is None:
        return None
    return asdict(calibration(answer.resolution, answer.sigma, truth.target, counted))


def histogram(target: Array, prediction: Array) -> list[list[int]]:
    """Count voxels by target and prediction, in bins of 0.25 Å; the last bin holds all that is coarser.

    Returns
    -------
    list
        ``[bin of the target, bin of the prediction, voxels]`` of every bin that holds any.

    Examples
    --------
    >>> histogram(np.array([3.1, 3.2, 4.0]), np.array([3.0, 3.1, 99.0]))
    [[12, 12, 2], [16, 119, 1]]
    """
    last = round(COARSEST / STEP) - 1
    rows, columns = (np.clip((v / STEP).astype(int), 0, last) for v in (target, prediction))
    pairs, counts = np.unique(rows * (last + 1) + columns, return_counts=True)
    return [
        [int(p // (last + 1)), int(p % (last + 1)), int(n)]
        for p, n in zip(pairs.tolist(), counts.tolist(), strict=True)
    ]
