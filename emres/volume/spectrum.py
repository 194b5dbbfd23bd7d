"""The power of a map shell by shell, in its molecule and beside it: what tells how it was made and processed.

A map's noise is what lies beside its molecule, and filters change both alike. Where nothing lies there, the map was
masked. Windows are looked at, not the whole map: it may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import fft, ndimage

from emres.volume.blocks import Box
from emres.volume.boxes import bounding_box
from emres.volume.grid import Shape

Array = np.ndarray[Any, Any]

SIDE = 48  # voxels of a window
CELL = 8  # voxels: as finely as places are chosen
SHELLS = 43  # 0 is the mean; up to the corners of the cube of frequencies; shell j is j / SIDE per voxel
NYQUIST = SIDE // 2
_INSIDE, _BESIDE = 96, 32  # windows at most: a molecule differs from place to place, its surroundings hardly do
_RING = 3.0  # cells beyond the nearest clear window that still are near


@dataclass(frozen=True)
class Spectra:
    """Mean power of a Fourier coefficient in shells 0 .. 42, each 1/48 per voxel wide; white noise of variance 1 has 1.

    Parameters
    ----------
    voxel_size : float
        Å.
    inside : (43,) tuple of float
        In windows round voxels of the molecule.
    outside : (43,) tuple of float
        In windows just beside it; empty where the box has no room for any.
    """

    voxel_size: float
    inside: tuple[float, ...]
    outside: tuple[float, ...] = ()

    @property
    def frequency(self) -> Array:
        """1/Å, (43,): the middle of every shell."""
        return np.arange(SHELLS) / (SIDE * self.voxel_size)

    def filtered(self, gain: Array) -> Spectra:
        """Return the spectra after every shell's amplitudes were multiplied by a number, (43,)."""
        return Spectra(self.voxel_size, *(_times(power, np.square(gain)) for power in (self.inside, self.outside)))

    def scaled(self, factor: float) -> Spectra:
        """Return the spectra of the map times a number."""
        return self.filtered(np.full(SHELLS, factor))

    def with_noise(self, variance: float) -> Spectra:
        """Return the spectra with white noise on top."""
        inside, outside = (tuple(value + variance for value in power) for power in (self.inside, self.outside))
        return Spectra(self.voxel_size, inside, outside)

    def with_errors(self, inside: Array, outside: Array) -> Spectra:
        """Return the spectra with every shell's power times a number, (43,) each."""
        return Spectra(self.voxel_size, _times(self.inside, inside), _times(self.outside, outside))

    def masked(self) -> Spectra:
        """Return the spectra of a map that has nothing beside its molecule."""
        return Spectra(self.voxel_size, self.inside, (0.0,) * SHELLS)

    @property
    def mean_square(self) -> float:
        """Mean square density of the windows in the molecule."""
        return float(np.dot(self.inside, shell_counts()) / SIDE**3)


def _times(power: tuple[float, ...], factors: Array) -> tuple[float, ...]:
    return tuple((np.asarray(power) * factors).tolist()) if power else ()


@lru_cache(maxsize=4)
def _shells(side: int) -> tuple[Array, Array]:
    """Return the shell of every coefficient of a window, and the window's Hann taper."""
    along, half = fft.fftfreq(side, 1 / side), fft.rfftfreq(side, 1 / side)
    radius = np.rint(np.sqrt(along[:, None, None] ** 2 + along[:, None] ** 2 + half**2)).astype(int)
    taper = np.square(np.sin(np.pi * (np.arange(side) + 0.5) / side))  # leaks no farther than the next coefficient
    hann = (taper[:, None, None] * taper[:, None] * taper).astype(np.float32)
    return radius.ravel(), hann


@lru_cache(maxsize=4)
def _counts(side: int) -> Array:
    """Return how many coefficients of a window lie in each shell."""
    both = np.full((side, side, side // 2 + 1), 2.0)
    both[..., [0, -1]] = 1
    return np.bincount(_shells(side)[0], weights=both.ravel())


@lru_cache(maxsize=4)
def _weight(side: int) -> float:
    """Return the sum of the squares of a window's taper."""
    return float(np.square(_shells(side)[1], dtype=np.float64).sum())


def shell_counts() -> Array:
    """Return how many coefficients of a window lie in each shell, (43,)."""
    return _counts(SIDE)


def mean_power(windows: Iterable[Array]) -> tuple[float, ...]:
    """Return the mean power of windows, shell by shell.

    Parameters
    ----------
    windows : iterable of (n, n, n) float32, all alike
        Of 48^3 voxels; the shells of smaller ones are interpolated.

    Returns
    -------
    (43,) tuple of float, rounded to six digits; empty if there are no windows
    """
    total: Array | None = None
    number = 0
    for window in windows:
        shell, hann = _shells(len(window))
        spectrum = fft.rfftn(window * hann)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        power[..., 1:-1] *= 2  # for the conjugate half
        sums = np.bincount(shell, weights=power.ravel()) / _counts(len(window)) / _weight(len(window))
        total = sums if total is None else total + sums
        number += 1
    if total is None:
        return ()
    side = len(window)
    mean = total if side == SIDE else np.interp(np.arange(SHELLS) / SIDE, np.arange(len(total)) / side, total)
    return tuple(float(f"{value:.6g}") for value in mean / number)


def window_places(cells: Array, shape: Shape) -> tuple[list[Box], list[Box]]:
    """Choose windows in a molecule and beside it.

    Parameters
    ----------
    cells : (z, y, x) bool
        True where any of a cell's 8^3 voxels is in the molecule.
    shape : (z, y, x)
        Voxels of the volume.

    Returns
    -------
    two lists of Box
        At most 96 and 32, of 48^3 voxels; those in the molecule may reach beyond a volume that is smaller, those beside
        it have 40^3 to 16^3 where the box is tight.
    """
    inside = [_window(index * CELL + CELL // 2 - SIDE // 2, shape) for index in _spread(np.argwhere(cells), _INSIDE)]
    for side in range(SIDE, CELL, -CELL):
        found = _spread(_beside(cells, shape, side // CELL), _BESIDE)
        if len(found):
            return inside, [_window(index * CELL, shape, side) for index in found]
    return inside, []


def _beside(cells: Array, shape: Shape, side: int) -> Array:
    """Return the first cell of every window of so many cells that is clear of the molecule and near it."""
    if bounding_box(cells) is None or min(n // CELL for n in shape) < side:
        return np.empty((0, 3), dtype=int)
    whole = cells[tuple(slice(n // CELL) for n in shape)]
    # A maximum over the window that begins at each cell: the filter is centred, so it is moved back.
    taken = ndimage.maximum_filter(whole, size=side, origin=-(side // 2), mode="constant")
    taken = taken[tuple(slice(n - side + 1) for n in whole.shape)]
    distance = ndimage.distance_transform_edt(~whole)[tuple(slice(side // 2, side // 2 + n) for n in taken.shape)]
    clear = ~taken
    if not clear.any():
        return np.empty((0, 3), dtype=int)
    return np.argwhere(clear & (distance <= distance[clear].min() + _RING))


def _spread(indices: Array, most: int) -> Array:
    """Return at most so many, evenly spread in an order that does not favour any axis."""
    mixed = indices[np.argsort((indices * (1, 7, 31)).sum(axis=1) % 101, kind="stable")]
    return mixed[np.unique(np.linspace(0, len(mixed) - 1, most).astype(int))] if len(mixed) else mixed


def _window(start: Array, shape: Shape, side: int = SIDE) -> Box:
    z, y, x = (int(np.clip(a, 0, max(n - side, 0))) for a, n in zip(start, shape, strict=True))
    return Box((z, y, x), (z + side, y + side, x + side))
