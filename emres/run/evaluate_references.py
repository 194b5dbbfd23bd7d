"""Half maps with the local resolutions that other programs gave for them: the model stands in one table with these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emres.archive.mrc import read_mrc
from emres.errors import MapError, UsageError
from emres.model.evaluate import MapErrors, map_errors, rank_errors
from emres.run.estimate import average, check_memory
from emres.run.evaluate_baselines import local_rms
from emres.run.evaluate_map import LOCAL_RMS, OWN_MEDIAN
from emres.run.evaluate_model import BLIND, Predict
from emres.run.jobs import resolve_device
from emres.run.masks import whole_mask
from emres.run.methods import make_recipe
from emres.run.patch_entries import valid_range
from emres.run.prepare import NO_SIGNAL
from emres.volume.grid import Grid, grid_of, make_volume
from emres.volume.pyramid import MemoryPyramid

Array = np.ndarray[Any, Any]

HALVES = ("half_map_1", "half_map_2")
TARGET = "fsc"


@dataclass(frozen=True)
class ReferenceObject:
    """Half maps in files, and what programs said of them.

    Parameters
    ----------
    folder : Path
        Holds ``half_map_1.map.gz``, ``half_map_2.map.gz``, perhaps ``mask.map.gz``, and ``references/*.map.gz``.
    """

    folder: Path

    @property
    def name(self) -> str:
        """Name of the object."""
        return self.folder.name

    @property
    def files(self) -> dict[str, Path]:
        """Kind -> file, of half maps and mask."""
        return {kind: found for kind in (*HALVES, "mask") for found in self.folder.glob(f"{kind}.m*")}

    @property
    def said(self) -> dict[str, Path]:
        """Program -> file."""
        return {path.name.partition(".")[0]: path for path in sorted(self.folder.glob("references/*.m*"))}

    def facts(self) -> dict[str, Any]:
        """Return what tells the files from any other, as JSON values."""
        paths = {**self.files, **self.said}
        return {name: [path.stat().st_size, path.stat().st_mtime_ns] for name, path in paths.items()}


def read_reference_objects(folder: Path | str) -> list[ReferenceObject]:
    """Return the objects in a folder that have two half maps.

    Raises
    ------
    UsageError
        If there is none.
    """
    objects = [ReferenceObject(path) for path in sorted(Path(folder).glob("*")) if path.is_dir()]
    found = [one for one in objects if all(kind in one.files for kind in HALVES)]
    if not found:
        raise UsageError(f"{folder} holds no half maps", expected="OBJECT/half_map_1.map.gz, half_map_2.map.gz")
    return found


def measure_references(
    one: ReferenceObject,
    predict: Predict,
    estimators: Sequence[str] = (),
    device: str = "auto",
    tell: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Hold the model, our one-map methods and other programs against the dense FSC of an object's half maps.

    Parameters
    ----------
    one : ReferenceObject
    predict : callable
        See :class:`emres.run.evaluate_model.ModelUnderTest`; it gets the plain average, blind, and the mask.
    estimators : sequence of str
        ``monores``, ``resmap``.
    device : str
        For FSC and estimators.
    tell : callable
        Told what is under way.

    Returns
    -------
    dict
        ``object``, ``voxel_size``, ``errors`` (name -> :class:`emres.model.evaluate.MapErrors`) and ``answered`` (name
        -> share of the target's voxels). Each over the voxels that it answers.

    Raises
    ------
    EmresError
        If the maps cannot be read or used.
    """
    halves, grid, inside = _read(one)
    tell(TARGET)
    target = make_recipe(TARGET).run(halves, grid, inside, resolve_device(device))
    low, high = valid_range({"window": target.window}, grid)
    counts = np.isfinite(target.resolution) & (target.resolution > low) & (target.resolution < high) & inside
    density = average(halves)
    errors: dict[str, MapErrors] = {}
    for name, answer in _answers(one, density, grid, inside, predict, (estimators, device), tell):
        counted = counts & np.isfinite(answer) & (answer > 0) & (answer != NO_SIGNAL)
        if counted.any():
            errors[name] = map_errors(answer, target.resolution, counted)
    errors[OWN_MEDIAN] = map_errors(float(np.median(target.resolution[counts])), target.resolution, counts)
    errors[LOCAL_RMS] = rank_errors(local_rms(density, grid), target.resolution, counts)
    return {
        "object": one.name,
        "voxel_size": grid.mean_voxel_size,
        "errors": {name: asdict(found) for name, found in errors.items()},
        "answered": {name: found.voxels / int(counts.sum()) for name, found in errors.items()},
    }


def _read(one: ReferenceObject) -> tuple[list[Array], Grid, Array]:
    volumes = [read_mrc(one.files[kind]) for kind in HALVES]
    grid = grid_of(volumes[0])
    check_memory(grid)
    halves = [np.asarray(volume.values, dtype=np.float32) for volume in volumes]
    if halves[0].shape != halves[1].shape:
        raise MapError(f"the half maps of {one.name} differ in shape", got=f"{halves[1].shape}")
    mask = str(one.files["mask"]) if "mask" in one.files else "auto"
    return halves, grid, whole_mask(MemoryPyramid(average(halves), grid), mask, None)


def _answers(
    one: ReferenceObject,
    density: Array,
    grid: Grid,
    inside: Array,
    predict: Predict,
    ours: tuple[Sequence[str], str],
    tell: Callable[[str], None],
) -> Iterator[tuple[str, Array]]:
    """Yield what each says, Å: the model, our one-map methods, the programs."""
    tell(BLIND)
    yield BLIND, predict(make_volume(density, grid), None, make_volume(inside.astype(np.float32), grid)).resolution
    estimators, device = ours
    for method in estimators:
        tell(method)
        recipe = make_recipe(method)
        yield (
            f"{method}, emres'",
            recipe.resolved(recipe.run([density], grid, inside, resolve_device(device)).resolution),
        )
    for name, path in one.said.items():
        values = np.asarray(read_mrc(path).values, dtype=np.float32)
        if values.shape != grid.shape:
            raise MapError(f"{path} lies on another grid", got=f"{values.shape}", expected=f"{grid.shape}")
        yield name, values


def references_table(found: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return means over objects by program: ``objects``, ``mae``, ``spearman``, ``shift``, ``answered``."""
    names = list(dict.fromkeys(name for one in found for name in one["errors"]))
    return {name: _row([one for one in found if name in one["errors"]], name) for name in names}


def _row(found: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    columns = {key: [one["errors"][name][key] for one in found] for key in ("mae", "spearman", "shift")}
    columns["answered"] = [one["answered"][name] for one in found]
    known = {key: [value for value in values if value is not None] for key, values in columns.items()}
    means = {key: float(np.mean(values)) if values else None for key, values in known.items()}
    return {"objects": len(found), **means}
