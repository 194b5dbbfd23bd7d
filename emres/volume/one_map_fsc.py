"""Local resolution from the power of one map over that of its noise, in windows; nothing in it is learnt.

Of the average of two half maps, with r the local power in a shell over the power of the noise there, the FSC of the
halves is (r - 1) / (r + 1): it falls to 0.143 where r falls to 4/3. Whatever filter the map went through, it changed
both powers alike. The window is that of the dense local FSC (:mod:`emres.estimators.fsc`), a Hann taper and Gaussian
sums in place of Gaussians all through: a core, a broad skirt, and a mean over neighbours.

Where the noise was masked off, only how the power differs from place to place is left, and what noise a map of the
reported resolution usually has: :func:`usual_noise`. The pattern is about right then, its level is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from emres.volume.blocks import Box
from emres.volume.boxes import bounding_box
from emres.volume.grid import Shape
from emres.volume.lattice_power import Each, Read, lattice_power
from emres.volume.local_window import AVERAGE_BREADTH, HANN_SIGMA, SKIRT_BREADTH, SKIRT_SHARE
from emres.volume.resample import apply_matrices
from emres.volume.spectrum import CELL, SHELLS, SIDE, Spectra
from emres.volume.window_power import frequencies, taper

Array = np.ndarray[Any, Any]

RATIO = (1 + 1 / 7) / (1 - 1 / 7)  # of the powers, where the FSC is 1/7
_HANN_SQUARE = 0.1414  # standard deviation, in widths of a window, of the square of a Hann taper, which weighs power
_STEPS = 4  # windows begin so often within one width: their squared tapers add up to a constant
_PLACES = 2**20  # windows at most, about: memory
_NEAR = 0.9  # widths of a window from the molecule: what lies farther hardly tells
_WITHIN = 0.2  # share of a window's weight that must lie in the box
_NOTHING = 1e-5  # of the largest power of the noise: filtered off
_DILUTED = 1.15  # median of simulated maps
_USUAL_FALL = 8.2  # of the logarithm of signal over noise, from frequency 0 to that of the resolution


@dataclass(frozen=True, eq=False)
class Levels:
    """Natural logarithm of the local resolution in voxels, on a lattice.

    Parameters
    ----------
    values : (z, y, x) float32
    start : (z, y, x)
        Voxel of the first of them.
    step : int
        Voxels from one to the next.
    median : float
        In the molecule.
    """

    values: Array
    start: Shape
    step: int
    median: float

    def __eq__(self, other: object) -> bool:
        """Whether all is the same, to the last bit."""
        if not isinstance(other, Levels):
            return NotImplemented
        mine, theirs = ((found.start, found.step, found.median) for found in (self, other))
        return mine == theirs and np.array_equal(self.values, other.values)

    def pattern(self, starts: Sequence[float], shape: Shape) -> Array:
        """Return how far the voxels of a box, from any place in a volume on, are from the median: linear between.

        Parameters
        ----------
        starts : three of float
            Voxel, or place between voxels, where the box begins.
        shape : (z, y, x)

        Returns
        -------
        (z, y, x) float32
            Beyond the lattice what is nearest goes on.
        """
        z, y, x = (
            _interpolation(n, m, a - first, self.step)
            for n, m, a, first in zip(shape, self.values.shape, starts, self.start, strict=True)
        )
        return np.asarray(apply_matrices(self.values - np.float32(self.median), (z, y, x)))


def _interpolation(n: int, m: int, start: float, step: int) -> Array:
    at = np.clip((start + np.arange(n)) / step, 0, m - 1)
    return np.asarray(np.maximum(1 - np.abs(at[:, None] - np.arange(m)), 0), dtype=np.float32)


def shown_resolution(spectra: Spectra) -> float:
    """Return the resolution, Å, at which the power in the molecule comes down to that of the noise.

    Windows round a molecule hold solvent too, and what they show is coarser by so much.
    """
    inside, noise = np.array([spectra.inside, spectra.outside])[:, : SIDE // 2 + 1]
    above = inside > RATIO * np.maximum(noise, _NOTHING * noise.max())
    shell = int(np.argmin(above[1:])) + 1 if not above[1:].all() else SIDE // 2
    return SIDE * spectra.voxel_size / max(shell, 2) / _DILUTED


def usual_noise(spectra: Spectra, resolution: float) -> tuple[float, ...]:
    """Return the noise that a map with this spectrum has if signal over noise falls as it does in most maps.

    Its logarithm falls by 8.2 up to the resolution, to 1/3: the median of simulated maps.

    Parameters
    ----------
    spectra : Spectra
    resolution : float
        Å, of the whole map.

    Examples
    --------
    >>> usual_noise(Spectra(1.0, (4.0,) * 43), 2.0)[24]
    3.0
    """
    fall = np.minimum(_USUAL_FALL * (spectra.frequency * resolution - 1), 50)
    return tuple((np.array(spectra.inside) / (1 + np.exp(-fall) / 3)).tolist())


def local_levels(
    read: Read, cells: Array, shape: Shape, noise: tuple[float, ...], width: int, each: Each = map
) -> Levels:
    """Return where the local power comes down to that of the noise.

    Parameters
    ----------
    read : callable
        Returns a box of the density; boxes may reach beyond the faces, where it is 0.
    cells : (z, y, x) bool
        True where any of a cell's 8^3 voxels is in the molecule; some are.
    shape : (z, y, x)
        Voxels of the volume.
    noise : (43,) tuple of float
        Power of the noise, as :class:`emres.volume.spectrum.Spectra` has it.
    width : int
        Of the windows, voxels; a multiple of 4.
    each : callable
        As for :func:`emres.volume.lattice_power.lattice_power`.

    Returns
    -------
    Levels
    """
    region = _region(cells, shape, width)
    step = max(width // _STEPS, round((math.prod(region.shape) / _PLACES) ** (1 / 3)))
    start, count = _lattice(region, step)
    near = _near(cells, start, count, step, width)
    shells, expected = _told(noise, width)
    powers = lattice_power(read, near, start, step, width, shells, each)
    share = _share_within(start, count, shape, step, width)
    there = near & (share > _WITHIN)
    powers /= np.maximum(share, _WITHIN)
    frequency = _crossings(powers, there, shells, expected, width / step)
    # To a tenth of a percent: what is kept of them, in half the bytes, is what they are.
    values = -np.log(frequency).astype(np.float16).astype(np.float32)
    return Levels(values, start, step, _median(values, cells, start, step))


def _region(cells: Array, shape: Shape, width: int) -> Box:
    """Return the box of the molecule and what tells on it."""
    found = bounding_box(cells)
    assert found is not None
    first, last = ((CELL * z, CELL * y, CELL * x) for z, y, x in (found.start, found.stop))
    return Box(first, last).grown(int(_NEAR * width)).clipped(shape)


def _lattice(region: Box, step: int) -> tuple[Shape, Shape]:
    """Return the first voxel and the number of places; they are multiples of the step, whatever the region."""
    first = [a // step * step for a in region.start]
    z, y, x = (-(-(b - a) // step) + 1 for a, b in zip(first, region.stop, strict=True))
    return (first[0], first[1], first[2]), (z, y, x)


def _near(cells: Array, start: Shape, count: Shape, step: int, width: int) -> Array:
    distance = ndimage.distance_transform_edt(~np.pad(cells, 1)) * CELL
    return np.asarray(distance[np.ix_(*_cell_of(cells, start, count, step, 1))] <= _NEAR * width)


def _cell_of(cells: Array, start: Shape, count: Shape, step: int, pad: int = 0) -> Iterator[Array]:
    """Yield, axis by axis, the cell that each place of a lattice lies in; the last ones for what lies beyond."""
    for a, n, m in zip(start, count, cells.shape, strict=True):
        yield np.clip((a + step * np.arange(n)) // CELL, 0, m - 1 + pad) + pad


def _median(values: Array, cells: Array, start: Shape, step: int) -> float:
    inside = cells[np.ix_(*_cell_of(cells, start, values.shape, step))]
    return round(float(np.median(values[inside] if inside.any() else values)), 6)


def _told(noise: tuple[float, ...], width: int) -> tuple[tuple[float, ...], Array]:
    """Return the frequencies that are looked at, 1/voxel, up to where filters left any noise, and its power there."""
    shells = frequencies(width)
    expected = np.interp(shells, np.arange(SHELLS) / SIDE, noise)
    told = np.flatnonzero(expected > _NOTHING * expected.max())
    count = int(told[-1]) + 1 if len(told) else len(shells)
    return tuple(shells[:count].tolist()), expected[:count]


def _share_within(start: Shape, count: Shape, shape: Shape, step: int, width: int) -> Array:
    """Return how much of each window, by the square of its taper, lies within a volume."""
    weight = np.square(taper(width))
    weight /= weight.sum()
    z, y, x = (
        np.array([weight[max(-first, 0) : max(n - first, 0)].sum() for first in a - width // 2 + step * np.arange(m)])
        for a, m, n in zip(start, count, shape, strict=True)
    )
    return np.asarray(z[:, None, None] * y[:, None] * x, dtype=np.float32)


def _crossings(powers: Array, there: Array, shells: tuple[float, ...], expected: Array, steps: float) -> Array:
    """Return where the power first comes down to 4/3 of the noise, 1/voxel, and its mean over neighbours.

    Windows are so many steps wide.
    """
    held, sigma = there.astype(np.float32), HANN_SIGMA * steps
    near, far = (math.sqrt((part * sigma) ** 2 - (_HANN_SQUARE * steps) ** 2) for part in (1, SKIRT_BREADTH))
    shares = [_blurred(held, breadth) for breadth in (near, far)]
    found: Array = np.full(there.shape, shells[-1])
    above = np.ones(there.shape, dtype=bool)
    before: Array = np.full(there.shape, np.float32(np.inf))
    for k in range(len(shells)):
        masked = np.where(there, powers[k], 0)
        core, skirt = (_blurred(masked, breadth) / part for breadth, part in zip((near, far), shares, strict=True))
        ratio = ((1 - SKIRT_SHARE) * core + SKIRT_SHARE * skirt) / np.float32(max(expected[k], 1e-30))
        falls = above & (ratio < RATIO)
        earlier = shells[max(k - 1, 0)]
        part: Array = np.clip((before - RATIO) / np.maximum(before - ratio, 1e-6), 0, 1) if k else np.ones_like(ratio)
        found = np.where(falls, earlier + part * (shells[k] - earlier), found)
        above &= ~falls
        before = ratio
    mean = AVERAGE_BREADTH * sigma
    return np.clip(_blurred(np.where(there, found, 0), mean) / _blurred(held, mean), 1 / 64, 0.5)


def _blurred(values: Array, sigma: float) -> Array:
    """Return a Gaussian mean with nothing beyond the faces, never quite 0 where any value is near."""
    blurred: Array = ndimage.gaussian_filter(values, sigma, truncate=3, mode="constant")
    return np.maximum(blurred, np.float32(1e-6))
