"""A volume at several samplings: every level has voxels twice as large as the one before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from emres.volume.grid import Grid, Shape
from emres.volume.resample import Sliceable

LEVELS = 3


class Pyramid(Protocol):
    """A map that can be read at several samplings, wherever it lies."""

    @property
    def levels(self) -> int:
        """How many samplings there are; 0 is the map itself."""
        ...

    def grid(self, level: int = 0) -> Grid:
        """Return the grid of a level."""
        ...

    def array(self, level: int = 0) -> Sliceable:
        """Return the density of a level, (z, y, x) float32."""
        ...


@dataclass(frozen=True)
class MemoryPyramid:
    """The pyramid of a volume that is held in memory; coarser levels are made when they are asked for.

    Parameters
    ----------
    values : (z, y, x) float32
    base : Grid
    """

    values: np.ndarray[Any, Any]
    base: Grid
    _made: list[np.ndarray[Any, Any]] = field(default_factory=list, repr=False)

    @property
    def levels(self) -> int:
        """How many samplings there are."""
        return len(pyramid_grids(self.base))

    def grid(self, level: int = 0) -> Grid:
        """Return the grid of a level."""
        return pyramid_grids(self.base)[level]

    def array(self, level: int = 0) -> np.ndarray[Any, Any]:
        """Return the density of a level."""
        while len(self._made) < level:
            self._made.append(block_mean(self._made[-1] if self._made else self.values))
        return self._made[level - 1] if level else self.values


def pyramid_grids(grid: Grid, levels: int = LEVELS) -> list[Grid]:
    """Return the grids of a pyramid: each level has voxels twice as large, centred on the means they hold.

    A level of fewer than 16 voxels along its longest axis is the last.
    """
    grids = [grid]
    while len(grids) < levels and max(grids[-1].shape) >= 16:
        last = grids[-1]
        z, y, x = (2 * size for size in last.voxel_size)
        oz, oy, ox = (start + size / 2 for start, size in zip(last.origin, last.voxel_size, strict=True))
        grids.append(Grid(halved(last.shape), (z, y, x), (oz, oy, ox)))
    return grids


def halved(shape: Shape) -> Shape:
    """Return the shape of the next coarser level of a pyramid."""
    z, y, x = (-(-n // 2) for n in shape)
    return z, y, x


def block_mean(values: np.ndarray[Any, Any], factor: int = 2) -> np.ndarray[Any, Any]:
    """Average cubes of ``factor``^3 voxels; a rest at the far faces is averaged over what is there.

    Parameters
    ----------
    values : (z, y, x) float32
    factor : int

    Returns
    -------
    (ceil(z / factor), ...) float32
    """
    for axis in (2, 1, 0):
        values = _pairwise_mean(values, factor, axis)
    return np.ascontiguousarray(values)


def _pairwise_mean(values: np.ndarray[Any, Any], factor: int, axis: int) -> np.ndarray[Any, Any]:
    starts = np.arange(0, values.shape[axis], factor)
    sizes = np.minimum(starts + factor, values.shape[axis]) - starts
    whole = values.shape[axis] // factor * factor
    if factor == 2 and whole == values.shape[axis]:
        even, odd = (values[(slice(None),) * axis + (slice(k, None, 2),)] for k in (0, 1))
        return np.asarray((even + odd) * np.float32(0.5))
    weight = np.float32(1) / sizes.astype(np.float32)
    sums = np.add.reduceat(values, starts, axis=axis, dtype=np.float32)
    return np.asarray(sums * weight.reshape([-1 if k == axis else 1 for k in range(3)]))
