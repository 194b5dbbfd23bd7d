"""How strong a map is round the places of a lattice, shell by shell: in a window as the dense local FSC has it.

The window (:mod:`emres.estimators.fsc`) is a core and a broad skirt: a Hann taper, whose power is taken, and Gaussian
sums over its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from emres.volume.blocks import Box
from emres.volume.boxes import bounding_box
from emres.volume.grid import Shape, as_shape
from emres.volume.lattice_power import Each, Read, bricks, lattice_power
from emres.volume.local_window import AVERAGE_BREADTH, HANN_SIGMA, SKIRT_BREADTH
from emres.volume.spectrum import CELL
from emres.volume.window_power import frequencies, taper

Array = np.ndarray[Any, Any]

_HANN_SQUARE = 0.1414  # standard deviation, in widths of a window, of the square of a Hann taper, which weighs power
_STEPS = 4  # windows begin so often within one width: their squared tapers add up to a constant
_PLACES = 2**19  # windows at most, about: memory
_NEAR = 0.9  # widths of a window from the molecule: what lies farther hardly tells
_SECTIONS, _ROWS = 8, 16  # of places that are looked up at one go: memory
_WITHIN = 0.2  # share of a window's weight that must lie in the box


@dataclass(frozen=True, eq=False)
class LocalPower:
    """The mean power round the places of a lattice, shell by shell; white noise of variance 1 has 1.

    Parameters
    ----------
    core, skirt : (shells, z, y, x) float32
        In the core of the window, and in its skirt.
    there : (z, y, x) bool
        Which places have a window that tells.
    beside : (z, y, x) bool
        Which lie in a cell with any of the molecule.
    inside : (z, y, x) bool
        Which lie in the molecule itself.
    start : (z, y, x)
        Voxel of the first place.
    step, width : int
        Voxels from one place to the next, and of a window.
    """

    core: Array
    skirt: Array
    there: Array
    beside: Array
    inside: Array
    start: Shape
    step: int
    width: int

    @property
    def shells(self) -> Array:
        """Frequencies, 1/voxel, (shells,)."""
        return frequencies(self.width)

    def averaged(self, values: Array) -> Array:
        """Return the mean of values at the places over one window, as the dense local FSC takes it last."""
        mean = AVERAGE_BREADTH * HANN_SIGMA * self.width / self.step
        total = _blurred(np.where(self.there, values, 0), mean)
        return np.asarray(total / _blurred(self.there.astype(np.float32), mean))


def local_power(read: Read, needed: Read, cells: Array, shape: Shape, width: int, each: Each = map) -> LocalPower:
    """Return the power round the places of a lattice in and near a molecule.

    Parameters
    ----------
    read, needed : callable
        Return a box of the density, and of where the molecule is; boxes may reach beyond the faces, where it is 0.
    cells : (z, y, x) bool
        True where any of a cell's 8^3 voxels is in the molecule; some are.
    shape : (z, y, x)
        Voxels of the volume.
    width : int
        Of the windows, voxels; a multiple of 4.
    each : callable
        As for :func:`emres.volume.lattice_power.lattice_power`.

    Returns
    -------
    LocalPower
    """
    region = _region(cells, shape, width)
    step = max(width // _STEPS, round((math.prod(region.shape) / _PLACES) ** (1 / 3)))
    start, count = _lattice(region, step)
    near = _near(cells, start, count, step, width)
    powers = lattice_power(read, near, start, step, width, tuple(frequencies(width).tolist()), each)
    share = _share_within(start, count, shape, step, width)
    powers /= np.maximum(share, _WITHIN)
    beside, there = cells[np.ix_(*_cell_of(cells, start, count, step))], near & (share > _WITHIN)
    inside = _at_places(needed, beside, start, step)
    return LocalPower(powers, _smoothed(powers, there, width / step), there, beside, inside, start, step, width)


def _at_places(needed: Read, asked: Array, start: Shape, step: int) -> Array:
    """Return which of the places that are asked for are needed."""
    found = np.zeros(asked.shape, dtype=bool)
    for part in bricks(asked, (_SECTIONS, _ROWS, asked.shape[2])):
        first, last = (
            as_shape(a + step * k for a, k in zip(start, corner, strict=True)) for corner in (part.start, part.stop)
        )
        found[part.slices] = needed(Box(first, last))[::step, ::step, ::step] > 0
    return found & asked


def _smoothed(powers: Array, there: Array, steps: float) -> Array:
    """Return the power in the skirt, and leave that in the core in its place; windows are so many steps wide."""
    held, skirt = there.astype(np.float32), np.empty_like(powers)
    near, far = (
        math.sqrt((part * HANN_SIGMA * steps) ** 2 - (_HANN_SQUARE * steps) ** 2) for part in (1, SKIRT_BREADTH)
    )
    shares = [_blurred(held, breadth) for breadth in (near, far)]
    for core, broad in zip(powers, skirt, strict=True):
        masked = np.where(there, core, 0)
        np.divide(_blurred(masked, far), shares[1], out=broad)
        np.divide(_blurred(masked, near), shares[0], out=core)
    return skirt


def _region(cells: Array, shape: Shape, width: int) -> Box:
    """Return the box of the molecule and what tells on it."""
    found = bounding_box(cells)
    assert found is not None
    first, last = ((CELL * z, CELL * y, CELL * x) for z, y, x in (found.start, found.stop))
    return Box(first, last).grown(int(_NEAR * width)).clipped(shape)


def _lattice(region: Box, step: int) -> tuple[Shape, Shape]:
    """Return the first voxel and the number of places: about the middle of the region, however the map is turned."""
    count = as_shape(-(-n // step) + 1 for n in region.shape)
    beyond = ((m - 1) * step - n for m, n in zip(count, region.shape, strict=True))
    return as_shape(a - extra // 2 for a, extra in zip(region.start, beyond, strict=True)), count


def _near(cells: Array, start: Shape, count: Shape, step: int, width: int) -> Array:
    distance = ndimage.distance_transform_edt(~np.pad(cells, 1)) * CELL
    return np.asarray(distance[np.ix_(*_cell_of(cells, start, count, step, 1))] <= _NEAR * width)


def _cell_of(cells: Array, start: Shape, count: Shape, step: int, pad: int = 0) -> Iterator[Array]:
    """Yield, axis by axis, the cell that each place of a lattice lies in; the last ones for what lies beyond."""
    for a, n, m in zip(start, count, cells.shape, strict=True):
        yield np.clip((a + step * np.arange(n)) // CELL, 0, m - 1 + pad) + pad


def _share_within(start: Shape, count: Shape, shape: Shape, step: int, width: int) -> Array:
    """Return how much of each window, by the square of its taper, lies within a volume."""
    weight = np.square(taper(width))
    weight /= weight.sum()
    z, y, x = (
        np.array([weight[max(-first, 0) : max(n - first, 0)].sum() for first in a - width // 2 + step * np.arange(m)])
        for a, m, n in zip(start, count, shape, strict=True)
    )
    return np.asarray(z[:, None, None] * y[:, None] * x, dtype=np.float32)


def _blurred(values: Array, sigma: float) -> Array:
    """Return a Gaussian mean with nothing beyond the faces, never quite 0 where any value is near."""
    blurred: Array = ndimage.gaussian_filter(values, sigma, truncate=3, mode="constant")
    return np.maximum(blurred, np.float32(1e-6))
