"""What a report is made of, wherever it lies: the map, its local resolutions, the facts told beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emres.archive.mrc import open_map, read_mrc
from emres.archive.store import EntryGroup
from emres.errors import EmresError, MapError, StoreError, UsageError
from emres.run.cluster import free_memory
from emres.run.estimate import HALF_MAPS
from emres.run.single import find_source, is_map_file, map_stem
from emres.volume.grid import Grid, Triple, grid_of
from emres.volume.pyramid import MemoryPyramid, Pyramid
from emres.volume.resample import Sliceable

MOST_RESULTS = 8

_OVERVIEW = 256**3  # voxels
_VOLUMES = 3  # float32, in memory for each map that comes as a file


@dataclass(frozen=True)
class GivenResult:
    """One local resolution.

    Parameters
    ----------
    name : str
    array : (z, y, x)
        Å on the map's grid, in memory or in a store.
    overview : (z, y, x) float32
        The same at a sampling that is cheap to hold.
    facts : mapping
        What is recorded of its making.
    covers_box : bool
        It has no 0 outside a mask.
    """

    name: str
    array: Sliceable
    overview: np.ndarray[Any, Any]
    facts: dict[str, Any]
    covers_box: bool = False


@dataclass(frozen=True)
class ReportSource:
    """What a report is made of.

    Parameters
    ----------
    name : str
    entry : mapping
        Facts of the entry.
    density : Pyramid
    made_of : sequence of str
        ``map``, or the half maps whose mean ``density`` is.
    results : sequence of GivenResult
    notes : sequence of str
        What was left out, and why.
    group : EntryGroup, optional
        The entry, where it is one.
    """

    name: str
    entry: dict[str, Any]
    density: Pyramid
    made_of: Sequence[str]
    results: Sequence[GivenResult]
    notes: Sequence[str]
    group: EntryGroup | None = None


def find_report_source(
    source: str,
    *,
    store: Path | None = None,
    local_resolution: Sequence[Path] = (),
    voxel_size: float | Triple | None = None,
) -> ReportSource:
    """Return what a report of a map file or an entry is made of.

    Parameters
    ----------
    source : str
        A map file, an entry group, or the name of an entry of ``store``.
    store : Path, optional
    local_resolution : sequence of Path
        Local-resolution maps of any program on the map's grid, shown beside those of the entry.
    voxel_size : float or (z, y, x), optional
        Å; overrides the headers of files.

    Raises
    ------
    EmresError
        If a file is no map or lies on another grid, the entry is not there or holds no map, or files do not fit in
        memory.
    """
    if len(local_resolution) > MOST_RESULTS:
        raise UsageError("a report compares a few results", got=f"{len(local_resolution)}", expected=f"{MOST_RESULTS}")
    if is_map_file(source):
        return _of_file(Path(source), local_resolution, voxel_size)
    return _of_entry(find_source(source, store), local_resolution, voxel_size)


def _of_file(path: Path, files: Sequence[Path], voxel_size: float | Triple | None) -> ReportSource:
    with open_map(path, voxel_size) as reader:
        _check_memory(reader.grid, 1 + len(files))
    volume = read_mrc(path, voxel_size)
    grid = grid_of(volume)
    results = [_result_of_file(file, grid, voxel_size) for file in files]
    density = MemoryPyramid(np.asarray(volume.values), grid)
    return ReportSource(map_stem(path), {"title": path.name}, density, ("map",), results, ())


def _of_entry(group: EntryGroup, files: Sequence[Path], voxel_size: float | Triple | None) -> ReportSource:
    density, made_of = _density_of(group)
    grid, notes = density.grid(), []
    _check_memory(grid, len(files))
    fitting = [kind for kind in group.results() if group.grid(kind).matches(grid)]
    if other := [_short(kind) for kind in group.results() if kind not in fitting]:
        notes.append(f"Not shown, on another grid than the map: {', '.join(other)}.")
    newest = sorted(fitting, key=lambda kind: -(group.path / kind / "zarr.json").stat().st_mtime)
    room = MOST_RESULTS - len(files)
    if left := newest[room:]:
        notes.append(f"Not shown, as there are newer ones: {', '.join(map(_short, left))}.")
    results = [_result_of_entry(group, kind) for kind in newest[:room]]
    results += [_result_of_file(file, grid, voxel_size) for file in files]
    return ReportSource(group.name, group.attributes()["entry"], density, made_of, results, notes, group)


def _short(kind: str) -> str:
    return kind.split("/")[1]


def _density_of(group: EntryGroup) -> tuple[Pyramid, Sequence[str]]:
    if group.has("map"):
        return group.pyramid("map"), ("map",)
    if all(group.has(kind) for kind in HALF_MAPS) and group.grid(HALF_MAPS[0]).matches(group.grid(HALF_MAPS[1])):
        return _Mean(group.pyramid(HALF_MAPS[0]), group.pyramid(HALF_MAPS[1])), HALF_MAPS
    raise StoreError(
        f"{group.path} holds neither a map nor two half maps",
        got=", ".join(group.kinds()) or "nothing",
        cure=f"fetch it: emres fetch {group.name}",
    )


def _result_of_entry(group: EntryGroup, kind: str) -> GivenResult:
    coarsest = group.levels(kind) - 1
    overview = _overview(group.array(kind, coarsest))
    return GivenResult(_short(kind), group.array(kind), overview, group.attributes(kind))


def _result_of_file(path: Path, grid: Grid, voxel_size: float | Triple | None) -> GivenResult:
    # Such files often lack a voxel size (MonoRes writes 1.0) or an origin: voxel for voxel is what counts.
    volume = read_mrc(path, grid.voxel_size if voxel_size is None else voxel_size)
    if volume.shape != grid.shape:
        raise MapError(
            f"{path} lies on another grid than the map",
            got=f"{volume.shape} voxels",
            expected=f"{grid.shape}",
            cure="resample it to the map",
        )
    values = np.asarray(volume.values)
    return GivenResult(map_stem(path), values, _overview(values), {"file": path.name}, not bool((values == 0).any()))


def _overview(array: Sliceable) -> np.ndarray[Any, Any]:
    voxels = float(np.prod(np.asarray(array.shape, dtype=float)))
    step = max(1, int(np.ceil((voxels / _OVERVIEW) ** (1 / 3))))
    return np.asarray(array[::step, ::step, ::step])


def _check_memory(grid: Grid, maps: int) -> None:
    needed, free = maps * _VOLUMES * 4 * grid.voxels, free_memory()
    if needed > free:
        raise EmresError(
            f"maps of {'x'.join(map(str, grid.shape))} voxels do not fit in memory",
            got=f"{free / 2**30:.1f} GiB free",
            expected=f"{needed / 2**30:.1f} GiB",
            cure="bring the map into a store and report the entry: emres import MAP --name NAME --to STORE",
        )


@dataclass(frozen=True)
class _Mean:
    """The mean of two half maps at their several samplings (see ``emres.volume.pyramid.Pyramid``)."""

    first: Pyramid
    second: Pyramid

    @property
    def levels(self) -> int:
        return self.first.levels

    def grid(self, level: int = 0) -> Grid:
        return self.first.grid(level)

    def array(self, level: int = 0) -> Sliceable:
        return _MeanArray(self.first.array(level), self.second.array(level))


@dataclass(frozen=True)
class _MeanArray:
    """Reads the mean of two arrays where it is asked for."""

    first: Any
    second: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.first.shape)

    def __getitem__(self, where: Any) -> Any:
        return (np.asarray(self.first[where]) + np.asarray(self.second[where])) * np.float32(0.5)
