"""The power of a map shell by shell, in its molecule and beside it: what tells how it was made and processed.

A map's noise is what lies beside its molecule, and filters change both alike. Where nothing lies there, the map was
masked. Windows are looked at, not the whole map: it may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft

from emres.volume.blocks import Box

if TYPE_CHECKING:
    from emres.volume.contrast import Contrast

Array = np.ndarray[Any, Any]

SIDE = 48  # voxels of a window
CELL = 8  # voxels: as finely as places are chosen
SHELLS = 43  # 0 is the mean; up to the corners of the cube of frequencies; shell j is j / SIDE per voxel
NYQUIST = SIDE // 2
RESOLVED = np.arange(1, NYQUIST + 1) / SIDE  # 1/voxel: frequencies of shells 1 to NYQUIST
_INSIDE = 96  # windows at most


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
    contrast : Contrast, optional
        How the power differs from place to place in the molecule.
    sampling : float, optional
        Voxel size of the map itself, Å, before it came on these voxels.
    """

    voxel_size: float
    inside: tuple[float, ...]
    outside: tuple[float, ...] = ()
    contrast: Contrast | None = None
    sampling: float | None = None

    @property
    def frequency(self) -> Array:
        """1/Å, (43,): the middle of every shell."""
        return np.arange(SHELLS) / (SIDE * self.voxel_size)

    def filtered(self, gain: Array) -> Spectra:
        """Return the spectra after every shell's amplitudes were multiplied by a number, (43,)."""
        inside, outside = (_times(power, np.square(gain)) for power in (self.inside, self.outside))
        return replace(self, inside=inside, outside=outside)

    def scaled(self, factor: float) -> Spectra:
        """Return the spectra of the map times a number."""
        return self.filtered(np.full(SHELLS, factor))

    def with_noise(self, variance: float) -> Spectra:
        """Return the spectra with white noise on top."""
        inside, outside = (tuple(value + variance for value in power) for power in (self.inside, self.outside))
        contrast = self.contrast
        if contrast is not None:
            share = np.array(self.inside) / np.maximum(inside, 1e-30)
            contrast = contrast.diluted(np.interp(contrast.frequency * SIDE, np.arange(SHELLS), share))
        return replace(self, inside=inside, outside=outside, contrast=contrast)

    def masked(self) -> Spectra:
        """Return the spectra of a map that has nothing beside its molecule."""
        return replace(self, outside=(0.0,) * SHELLS)

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
    powers = window_powers(windows)
    return rounded(powers.mean(axis=0)) if len(powers) else ()


def window_powers(windows: Iterable[Array]) -> Array:
    """Return the power of every window, shell by shell: (windows, 43) float64. See :func:`mean_power`."""
    powers = [_power(window) for window in windows]
    return np.array(powers).reshape(len(powers), SHELLS)


def _power(window: Array) -> Array:
    side = len(window)
    shell, hann = _shells(side)
    spectrum = fft.rfftn(window * hann)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    power[..., 1:-1] *= 2  # for the conjugate half
    mean = np.bincount(shell, weights=power.ravel()) / _counts(side) / _weight(side)
    return mean if side == SIDE else np.interp(np.arange(SHELLS) / SIDE, np.arange(len(mean)) / side, mean)


def rounded(power: Array) -> tuple[float, ...]:
    """Return the power of every shell to six digits."""
    return tuple(float(f"{value:.6g}") for value in power)


def molecule_windows(cells: Array, room: Box) -> list[Box]:
    """Choose windows in a molecule.

    Parameters
    ----------
    cells : (z, y, x) bool
        True where any of a cell's 8^3 voxels is in the molecule.
    room : Box
        Voxels of the volume, counted from the first cell.

    Returns
    -------
    list of Box
        At most 96, of 48^3 voxels, on a lattice; they may reach beyond a volume that is smaller.
    """
    places = thinned(np.argwhere(cells), _INSIDE)
    return [window_at(index * CELL + CELL // 2 - SIDE // 2, room) for index in places]


def thinned(indices: Array, most: int) -> Array:
    """Return at most so many indices, those on ever wider cubic lattices about their middle: none favours an axis.

    Parameters
    ----------
    indices : (n, 3) int
    most : int
    """
    return np.asarray(indices[kept(indices, most)])


def kept(indices: Array, most: int) -> Array:
    """Return which indices :func:`thinned` keeps, (n,) bool."""
    if len(indices) <= most:
        return np.ones(len(indices), dtype=bool)
    relative = np.abs(2 * indices - indices.min(axis=0) - indices.max(axis=0)) // 2
    found = np.zeros(len(indices), dtype=bool)
    for unit, off in ((2**k, 2**k // 2 * half) for k in range(12) for half in (0, 1)):
        here, odd = (relative % unit == off).all(axis=1), relative // unit % 2
        # All points of the lattice, every second of them (as on a chess board), every fourth (centred cubes).
        for chosen in (here, here & (odd.sum(axis=1) % 2 == 0), here & (odd == odd[:, :1]).all(axis=1)):
            if found.sum() < chosen.sum() <= most:
                found = chosen
    if not found.any():
        found[:: -(-len(indices) // most)] = True
    return found


def window_at(start: Array, room: Box, side: int = SIDE) -> Box:
    """Return the window that begins at a voxel, moved into a volume; about the middle of one that is smaller."""
    z, y, x = (
        int(np.clip(a, low, high - side)) if high - low >= side else (low + high - side) // 2
        for a, low, high in zip(start, room.start, room.stop, strict=True)
    )
    return Box((z, y, x), (z + side, y + side, x + side))
