"""How strong a map is round the places of a lattice, shell by shell: in a window as the dense local FSC has it.

The window (:mod:`emres.estimators.fsc`) is a core and a broad skirt: a Hann taper, whose power is taken, and Gaussian
sums over its neighbours.
"""

from __future__ import annotations

import math
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
_HALF = 0.5  # of the voxels, or cells, that a place lies between
_NOTHING = 1e-6  # of a mean: what is divided by is more
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
        Voxel that the first place lies before, on its face.
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


def local_power(read: Read, needed: Read, cells: Array, room: Box, width: int, each: Each = map) -> LocalPower:
    """Return the power round the places of a lattice in and near a molecule.

    Parameters
    ----------
    read, needed : callable
        Return a box of the density, and of where the molecule is; boxes may reach beyond the faces, where it is 0.
    cells : (z, y, x) bool
        True where any of a cell's 8^3 voxels is in the molecule; some are.
    room : Box
        Voxels of the volume, counted from the first cell.
    width : int
        Of the windows, voxels; a multiple of 4.
    each : callable
        As for :func:`emres.volume.lattice_power.lattice_power`.

    Returns
    -------
    LocalPower
    """
    found = bounding_box(cells)
    assert found is not None
    molecule = found.scaled(CELL)
    region = molecule.grown(int(_NEAR * width)).shared(room)
    step = max(width // _STEPS, round((math.prod(region.shape) / _PLACES) ** (1 / 3)))
    start, count = _lattice(molecule, region, step)
    distance = ndimage.distance_transform_edt(~np.pad(cells, 1)) * CELL
    near = _at_cells(distance, start, count, step, pad=1) <= _NEAR * width
    powers = lattice_power(read, near, start, step, width, tuple(frequencies(width).tolist()), each)
    share = _share_within(start, count, room, step, width)
    powers /= np.maximum(share, _WITHIN)
    beside, there = _at_cells(cells, start, count, step) >= _HALF, near & (share > _WITHIN)
    inside = _at_places(needed, beside, start, step)
    return LocalPower(powers, _smoothed(powers, there, width / step), there, beside, inside, start, step, width)


def _at_places(needed: Read, asked: Array, start: Shape, step: int) -> Array:
    """Return which of the places that are asked for are needed: half of the voxels next to them, or more."""
    found = np.zeros(asked.shape, dtype=bool)
    for part in bricks(asked, (_SECTIONS, _ROWS, asked.shape[2])):
        first = as_shape(a + step * k - 1 for a, k in zip(start, part.start, strict=True))
        last = as_shape(a + step * (k - 1) + 1 for a, k in zip(start, part.stop, strict=True))
        inside = (needed(Box(first, last)) > 0).view(np.uint8)
        for axis in range(3):
            before, behind = (np.take(inside, np.arange(k, inside.shape[axis], step), axis) for k in (0, 1))
            inside = before + behind
        found[part.slices] = inside >= 8 * _HALF
    return found & asked


def _smoothed(powers: Array, there: Array, steps: float) -> Array:
    """Return the power in the skirt, and leave that in the core in its place; windows are so many steps wide."""
    held, skirt = there.astype(np.float32), np.empty_like(powers)
    near = steps**2 * (HANN_SIGMA**2 - _HANN_SQUARE**2)
    far = steps * math.sqrt((SKIRT_BREADTH * HANN_SIGMA) ** 2 - _HANN_SQUARE**2)
    shares = _between_three(held, near), _blurred(held, far)
    for core, broad in zip(powers, skirt, strict=True):
        masked = np.where(there, core, 0)
        np.divide(_blurred(masked, far), shares[1], out=broad)
        np.divide(_between_three(masked, near), shares[0], out=core)
    return skirt


def _lattice(molecule: Box, region: Box, step: int) -> tuple[Shape, Shape]:
    """Return the first voxel and the number of places: about the middle of a molecule, however the map is turned."""
    middle = [(a + b) // 2 for a, b in zip(molecule.start, molecule.stop, strict=True)]  # cells are even
    before = [-(-(m - a) // step) for m, a in zip(middle, region.start, strict=True)]
    behind = [-(-(b - m) // step) for m, b in zip(middle, region.stop, strict=True)]
    start = as_shape(m - step * n for m, n in zip(middle, before, strict=True))
    return start, as_shape(n + k + 1 for n, k in zip(before, behind, strict=True))


def _at_cells(values: Array, start: Shape, count: Shape, step: int, pad: int = 0) -> Array:
    """Return what cells hold at the places of a lattice: the mean where a place lies between two of them.

    Parameters
    ----------
    values : (z, y, x)
        Of cells, ``pad`` of them round the first and the last; what these hold goes on beyond them.
    start, count, step
        Of the lattice.
    pad : int
    """
    values = values.astype(np.float32)
    for axis, (a, n) in enumerate(zip(start, count, strict=True)):
        at = a + step * np.arange(n)
        before, behind = (np.clip(of // CELL + pad, 0, values.shape[axis] - 1) for of in (at - 1, at))
        values = (np.take(values, before, axis) + np.take(values, behind, axis)) / 2
    return values


def _share_within(start: Shape, count: Shape, room: Box, step: int, width: int) -> Array:
    """Return how much of each window, by the square of its taper, lies within a volume."""
    weight = np.square(taper(width))
    weight /= weight.sum()
    z, y, x = (
        np.array([weight[max(low - k, 0) : max(high - k, 0)].sum() for k in a - width // 2 + step * np.arange(m)])
        for a, m, low, high in zip(start, count, room.start, room.stop, strict=True)
    )
    return np.asarray(z[:, None, None] * y[:, None] * x, dtype=np.float32)


def _blurred(values: Array, sigma: float) -> Array:
    """Return a Gaussian mean with nothing beyond the faces, never quite 0 where any value is near."""
    blurred: Array = ndimage.gaussian_filter(values, sigma, truncate=3, mode="constant")
    return np.maximum(blurred, np.float32(_NOTHING))


def _between_three(values: Array, variance: float) -> Array:
    """Return a mean over places and their neighbours along every axis: as broad as a Gaussian that is narrower."""
    for axis in range(values.ndim):
        values = ndimage.correlate1d(values, [variance / 2, 1 - variance, variance / 2], axis, mode="constant")
    return np.maximum(values, np.float32(_NOTHING))
