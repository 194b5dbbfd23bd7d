"""Data sets of the predecessor, in and out: cubes of 16^3 voxels in HDF5 <-> entries of a data set.

Cubes that come in lie side by side in one box, a lattice, so that they are read like any map; that neighbours have
nothing to do with each other is on record (``Row.lattice``). Cubes that go out are cut from the maps without overlap.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from emres import __version__
from emres.archive.attributes import LOCAL_RESOLUTION
from emres.archive.cube_file import NO_SIGNAL, SIDE, CubeFile, CubeWriter, open_cubes, write_cubes
from emres.archive.manifest import SPLITS, DataSet, Row, read_dataset
from emres.archive.store import EntryGroup, Store
from emres.archive.writer import VolumeWriter
from emres.errors import StoreError, UsageError
from emres.run.build import STORE, open_or_new, recorded_sides, with_rows
from emres.run.estimate import HALF_MAPS, average, check_memory
from emres.run.ingest import file_facts
from emres.run.jobs import Progress, hash_of_facts
from emres.run.prepare import Summary
from emres.volume.grid import Grid
from emres.volume.lattice import Lattice, cut
from emres.volume.resample import apply_matrices, fourier_resample, resampling_matrices

Array = np.ndarray[Any, Any]

VOXEL_SIZE = 1.0  # Å, of cubes that come without one

_VOLUMES = 6  # float32, in memory when a map is cut to cubes


def import_hdf5(
    path: Path | str,
    to: Path | str,
    *,
    name: str,
    split: str,
    voxel_size: float = VOXEL_SIZE,
    progress: Progress | None = None,
) -> DataSet:
    """Bring the predecessor's cubes into a data set, as one entry.

    Memory does not grow with the file: it is read some 256 cubes at a time.

    Parameters
    ----------
    path : path
        HDF5 with ``map`` and ``target``, (N, 16, 16, 16), or with an axis of one channel; Å, 100 for no resolution.
    to : path
        The data set; made if there is none. The cubes go to its ``store``.
    name : str
        Of the entry and of its target, ``local_resolution/<name>``.
    split : str
        ``train``, ``validation`` or ``test``.
    voxel_size : float
        Å.
    progress : callable, optional
        Called with (cubes done, cubes in all).

    Returns
    -------
    DataSet

    Raises
    ------
    EmresError
        If the file, the name, the side or the data set is unusable; nothing is left half-written.
    """
    if split not in SPLITS:
        raise UsageError("unknown side of a split", got=split, expected=", ".join(SPLITS))
    folder, group = Path(to), Store(Path(to) / STORE).entry(name)
    target = f"{LOCAL_RESOLUTION}/{name}"
    with open_or_new(folder) as dataset:
        side = recorded_sides(dataset).get(name, split)
        if side != split:
            raise UsageError(f"{name} is on the {side} side of {folder} already", cure="give it another name")
        with open_cubes(path) as cubes:
            lattice = Lattice(cubes.count, cubes.side)
            facts = {**file_facts(Path(path)), "voxel_size": voxel_size}
            if not (group.has(target) and group.attributes(target).get("source") == facts):
                _check_room(folder, lattice)
                _write_lattice(cubes, lattice, group, target, facts, progress or (lambda done, total: None))
        found = group.attributes(target)
        row = Row(
            name, STORE, target, split, name, 1.0, ("map",), found["median"], found["p05"], found["p95"],
            voxel_size, found["voxels"], lattice=lattice.side,
        )  # fmt: skip
        return with_rows(dataset, [row], {"imported": {name: {**facts, "cubes": lattice.count}}})


def _check_room(folder: Path, lattice: Lattice) -> None:
    """Refuse cubes that the disk cannot hold: what a file of a few bytes declares may be any number."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    needed, free = 2 * 4 * math.prod(lattice.shape), shutil.disk_usage(existing).free
    if needed > free:
        raise StoreError(
            f"{lattice.count:,} cubes do not fit on the disk of {folder}",
            got=f"{free / 2**30:.1f} GiB free",
            expected=f"{needed / 2**30:.1f} GiB",
            cure="use another disk, or a smaller file",
        )


def _write_lattice(
    cubes: CubeFile, lattice: Lattice, group: EntryGroup, target: str, facts: dict[str, Any], progress: Progress
) -> None:
    """Write map and target in one pass over the file; a new entry is not left behind without them."""
    grid, new, summary = Grid(lattice.shape, (facts["voxel_size"],) * 3), not group.exists(), Summary()
    # The grid was checked just now, so that a voxel size of 0 leaves no empty entry.
    Store(group.path.parent).create(group.name, {"title": facts["name"]})
    common = {"source": facts, "lattice": lattice.side, "cubes": lattice.count}
    try:
        with ExitStack() as stack:
            densities, targets = (stack.enter_context(VolumeWriter(group, kind, grid)) for kind in ("map", target))
            for start, stop in lattice.layers():
                density, resolution = cubes.read(start, stop)
                densities.add(0, lattice.joined(density))
                targets.add(0, lattice.joined(resolution))
                summary.add(resolution)
                progress(stop, lattice.count)
            fingerprint = hash_of_facts({"program": f"emres {__version__}", **common})
            result = {"model": group.name, "fingerprint": fingerprint, "program": f"emres {__version__}"}
            found = summary.result()
            densities.commit(common)
            targets.commit({**common, **result, **found, "source_kind": "map"})
    except BaseException:
        if new:
            group.discard()
        raise


def export_hdf5(
    dataset: Path | str | DataSet,
    output: Path | str,
    *,
    splits: Sequence[str] = SPLITS,
    voxel_size: float | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Write a data set as the predecessor's cubes, which it can train on.

    A map is cut without overlap into cubes of 16^3 voxels, from the middle of its box; those in which no voxel has a
    target are left out. Its density is scaled to 0..1 between its least and its greatest voxel. Cubes that came
    from the predecessor go out as they came in. One map at a time is in memory.

    Parameters
    ----------
    dataset : path or DataSet
    output : path
    splits : sequence of str
        Sides of the split that go into the file.
    voxel_size : float, optional
        Å, of all cubes; that of each map by default.
    overwrite : bool
    progress : callable, optional
        Called with (entries done, entries in all).

    Returns
    -------
    dict
        ``entries`` and ``cubes``.

    Raises
    ------
    EmresError
        If the data set or an entry cannot be read, the sides hold nothing, or the file cannot be written.
    """
    dataset = dataset if isinstance(dataset, DataSet) else read_dataset(dataset)
    rows = [row for split in splits for row in dataset.side(split)]
    if not rows:
        raise UsageError(f"{dataset.folder} has no entries there", got=", ".join(splits), cure="choose another --split")
    for row in rows:
        _check_lattice(row, voxel_size)
    with write_cubes(output, overwrite=overwrite) as writer:
        for done, row in enumerate(rows, start=1):
            for density, target in _cubes_of(dataset, row, voxel_size):
                writer.add(density, target)
            if progress is not None:
                progress(done, len(rows))
        _check_any(writer, dataset)
    return {"entries": len(rows), "cubes": writer.count}


def _check_lattice(row: Row, voxel_size: float | None) -> None:
    if row.lattice not in (0, SIDE):
        raise UsageError(f"{row.entry} holds cubes of another size", got=f"{row.lattice}^3", expected=f"{SIDE}^3")
    if row.lattice and voxel_size not in (None, row.voxel_size):
        raise UsageError(
            f"{row.entry} holds cubes, which cannot be resampled: nothing is known of what lies around them",
            got=f"{voxel_size:g} Å",
            expected=f"{row.voxel_size:g} Å",
            cure="leave --voxel-size out, or leave this side out with --split",
        )


def _check_any(writer: CubeWriter, dataset: DataSet) -> None:
    if not writer.count:
        raise UsageError(f"no map of {dataset.folder} holds a whole cube with a target", expected=f"{SIDE}^3 voxels")


def _cubes_of(dataset: DataSet, row: Row, voxel_size: float | None) -> Iterator[tuple[Array, Array]]:
    group = Store(dataset.store_of(row)).entry(row.entry)
    if not row.lattice:
        density, target = (cut(_middle(values, SIDE), SIDE) for values in volumes_of(group, row, voxel_size))
        kept = target.any(axis=(1, 2, 3))
        yield density[kept], target[kept]
        return
    lattice = Lattice(int(group.attributes(row.target)["cubes"]), row.lattice)
    densities, targets = group.array("map"), group.array(row.target)
    for layer, (start, stop) in enumerate(lattice.layers()):
        where = slice(layer * row.lattice, (layer + 1) * row.lattice)
        density, target = (lattice.parted(np.asarray(found[where]), stop - start) for found in (densities, targets))
        yield density, target


def _middle(volume: Array, side: int) -> Array:
    """Return the part of a volume, in its middle, that is whole cubes."""
    where = tuple(slice((n % side) // 2, (n % side) // 2 + n - n % side) for n in volume.shape)
    return volume[where]


def volumes_of(group: EntryGroup, row: Row, voxel_size: float | None) -> tuple[Array, Array]:
    """Read a map, scaled to 0..1, and its target on the same grid, of the voxel size that is asked for.

    Returns
    -------
    (z, y, x) float32, twice
        Density; Å, 0 where there is none.
    """
    kinds = ("map",) if "map" in row.densities else HALF_MAPS
    grid, target_grid = group.grid(kinds[0]), group.grid(row.target)
    wanted = grid if voxel_size is None else grid.resampled(voxel_size)
    check_memory(max(grid, wanted, target_grid, key=lambda one: one.voxels), _VOLUMES)
    density = average([np.asarray(group.array(kind)[...]) for kind in kinds])
    target = np.asarray(group.array(row.target)[...])
    target = np.where(target < NO_SIGNAL, target, np.float32(0))  # ResMap's word for it, too
    if wanted != grid:
        density = fourier_resample(density, grid, wanted)
    if not wanted.matches(target_grid):
        target = carried(target, target_grid, wanted)
    low, high = float(density.min()), float(density.max())
    return (density - np.float32(low)) / np.float32(max(high - low, 1e-30)), target


def carried(target: Array, source: Grid, grid: Grid) -> Array:
    """Carry a target to another grid, linearly among voxels that have one; 0 where most of what is near has none."""
    matrices = resampling_matrices(source, grid, "linear")
    for axis in range(3):  # linear interpolation goes on for ever beyond the box, where nothing is known
        position = (grid.origin[axis] - source.origin[axis]) / source.voxel_size[axis]
        steps = position + np.arange(grid.shape[axis]) * grid.voxel_size[axis] / source.voxel_size[axis]
        matrices[axis][(steps < -0.5) | (steps > source.shape[axis] - 0.5)] = 0
    share = apply_matrices((target > 0).astype(np.float32), matrices)
    values = apply_matrices(target, matrices)
    return np.where(share > 0.5, values / np.maximum(share, np.float32(1e-6)), np.float32(0)).astype(np.float32)
