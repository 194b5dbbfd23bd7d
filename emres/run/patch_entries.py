"""An entry of a data set, opened: its densities and target, checked against the manifest, and where it has a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emres.archive.chunk_reader import ChunkReader
from emres.archive.manifest import DataSet, Row
from emres.archive.store import EntryGroup, Store, StoredPyramid
from emres.errors import MapError, StoreError
from emres.model.patch_spec import Cells
from emres.run.masks import slabs
from emres.volume.grid import Grid
from emres.volume.pyramid import Pyramid

Array = np.ndarray[Any, Any]

HALF_MAPS = ("half_map_1", "half_map_2")

_MOST_CELLS = 2**17
_NO_SIGNAL = 100.0  # Å: what ResMap says where it finds nothing


class Averaged:
    """The mean of two arrays, part by part."""

    def __init__(self, first: Any, second: Any) -> None:
        self._first, self._second = first, second
        self.shape: tuple[int, ...] = first.shape
        self.chunks: tuple[int, ...] = first.chunks

    def __getitem__(self, where: Any) -> Array:
        """Return a part as float32."""
        mean = self._first[where] + self._second[where]
        mean *= np.float32(0.5)
        return np.asarray(mean)


@dataclass(frozen=True)
class AveragedPyramid:
    """The average of an entry's half maps, at several samplings."""

    group: EntryGroup

    @property
    def levels(self) -> int:
        """How many samplings there are."""
        return self.group.levels(HALF_MAPS[0])

    def grid(self, level: int = 0) -> Grid:
        """Return the grid of a level."""
        return self.group.grid(HALF_MAPS[0], level)

    def array(self, level: int = 0) -> Averaged:
        """Return the density of a level."""
        return Averaged(*(self.group.array(kind, level) for kind in HALF_MAPS))


def density_pyramid(group: EntryGroup, density: str) -> Pyramid:
    """Return a density of an entry, ``map``, ``map_2``, … or ``average``, at its several samplings."""
    return AveragedPyramid(group) if density == "average" else StoredPyramid(group, density)


def chunk_array(group: EntryGroup, density: str) -> Averaged | ChunkReader:
    """Return a density of an entry as what is fast to read chunk by chunk."""
    first, *second = (ChunkReader(group.array(kind)) for kind in kinds_of(density))
    return Averaged(first, *second) if second else first


def kinds_of(density: str) -> tuple[str, ...]:
    """Return the kinds of maps that a density is made of."""
    return HALF_MAPS if density == "average" else (density,)


def check_row(dataset: DataSet, row: Row) -> EntryGroup:
    """Check that an entry still is what the manifest says, and return its group.

    Raises
    ------
    StoreError
        If the entry, its target or one of its densities is not there.
    MapError
        If they lie on different grids.
    """
    group = Store(dataset.store_of(row)).entry(row.entry)
    if not group.exists():
        raise StoreError(
            f"{row.entry} has vanished from {dataset.store_of(row)}",
            cure="bring it back, or build the data set again",
        )
    densities = [kind for name in row.densities for kind in kinds_of(name)]
    for kind in (row.target, *densities):
        if not group.has(kind):
            raise StoreError(
                f"{row.entry} has no {kind}", got=", ".join(group.kinds()), cure="build the data set again"
            )
    target = group.grid(row.target)
    for kind in densities:
        if not group.grid(kind).matches(target):
            raise MapError(
                f"the {row.target} of {row.entry} lies on another grid than its {kind}",
                got=f"{target.shape} of {target.mean_voxel_size:.4g} Å",
                expected=f"{group.grid(kind).shape} of {group.grid(kind).mean_voxel_size:.4g} Å",
                cure="estimate it again",
            )
    return group


def valid_range(attributes: dict[str, Any], grid: Grid) -> tuple[float, float]:
    """Return the range, in Å, in which a target says something: beyond, the method had reached what it can tell.

    Parameters
    ----------
    attributes : dict
        Of the target.
    grid : Grid
    """
    parameters = attributes.get("parameters") or {}
    coarsest = attributes.get("window") or parameters.get("coarsest") or _NO_SIGNAL
    return 2.0001 * max(grid.voxel_size), 0.98 * min(float(coarsest), _NO_SIGNAL)


def cells_of(dataset: DataSet, row: Row) -> Cells:
    """Read where an entry has a target from the coarsest level of its pyramid, or the cubes of a lattice that have one.

    Never more than a slab is in memory, and of very many cells every second, fourth, … is kept.
    """
    group = check_row(dataset, row)
    level = 0 if row.lattice else group.levels(row.target) - 1
    array, grid = group.array(row.target, level), group.grid(row.target, level)
    factor = row.lattice or 1
    found: list[Array] = []
    step = 1
    for box in slabs(grid, thickness=64 if 64 % factor == 0 else factor):
        values = np.asarray(array[box.slices]) > 0
        corners = np.argwhere(values) + np.array(box.start)
        found.append(np.unique(corners // factor, axis=0)[::step] if row.lattice else corners[::step])
        while sum(map(len, found)) > _MOST_CELLS:
            found, step = [part[::2] for part in found], 2 * step
    side = row.lattice or 2**level
    return Cells(np.concatenate(found) * side, side, group.grid(row.target).shape)
