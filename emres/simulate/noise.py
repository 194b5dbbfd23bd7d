"""Noise of a reconstruction: coloured, perhaps stronger along one axis, symmetric where the map is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import fft

from emres.simulate.density import squared_frequency
from emres.simulate.recipe import Noise
from emres.simulate.symmetry import symmetrised
from emres.volume.grid import Grid

Array = np.ndarray[Any, Any]

# FSC = signal / (signal + noise) = 0.143 where the noise of a half map is six times the signal.
NOISE_OVER_SIGNAL = 1 / 0.143 - 1
# Half width of the shell that the signal is measured in, as a share of its frequency.
_SHELL = 0.06
_RINGS = 12


def noise_gain(grid: Grid, noise: Noise, axis: Array) -> Array:
    """Return the amplitude of the noise, for white noise of unit variance: sqrt of frequency^p (frequency in 1/Å).

    Parameters
    ----------
    grid : Grid
    noise : Noise
    axis : (3,)
        Unit vector along which the noise is strongest, z, y, x.

    Returns
    -------
    (z, y, x // 2 + 1) float32
        0 beyond the Nyquist sphere; at frequency 0 as at the first frequency there is.
    """
    square = squared_frequency(grid)
    beyond = square > (0.5 / max(grid.voxel_size)) ** 2
    np.maximum(square, 1 / max(grid.extent) ** 2, out=square)
    gain = square ** np.float32(noise.power / 4)
    if noise.anisotropy:
        gain *= np.sqrt(1 + noise.anisotropy * (1.5 * _along(grid, axis) ** 2 / square - 0.5))
    gain[beyond] = 0
    return np.asarray(gain, dtype=np.float32)


def _along(grid: Grid, axis: Array) -> Array:
    """Return the component of every frequency along an axis, 1/Å."""
    nz, ny, nx = grid.shape
    dz, dy, dx = grid.voxel_size
    parts = (np.fft.fftfreq(nz, dz), np.fft.fftfreq(ny, dy), np.fft.rfftfreq(nx, dx))
    z, y, x = ((one * weight).astype(np.float32) for one, weight in zip(parts, axis, strict=True))
    return np.asarray(z[:, None, None] + y[None, :, None] + x[None, None, :])


def noise_scale(spectrum: Array, gain: Array, grid: Grid, resolution: float, filled: float) -> float:
    """Return the factor on the noise with which the FSC in the molecule crosses 0.143 at a resolution.

    Parameters
    ----------
    spectrum : (z, y, x // 2 + 1) complex64
        Transform of the signal.
    gain : (z, y, x // 2 + 1) float32
        Of the noise, `noise_gain`.
    grid : Grid
    resolution : float
        Å.
    filled : float
        Share of the box that the molecule fills: so much of the noise is inside it, but all of the signal.
    """
    frequency = np.sqrt(squared_frequency(grid))
    nyquist = 0.5 / max(grid.voxel_size)
    shell = (np.abs(frequency * resolution - 1) < _SHELL) & (frequency <= nyquist)
    # A mean of logarithms over thin rings gives the middle of a steep curve, not its upper end.
    ring = ((frequency[shell] * resolution - 1 + _SHELL) * (_RINGS / (2 * _SHELL))).astype(int).clip(0, _RINGS - 1)
    count = np.bincount(ring, minlength=_RINGS)
    signal, noise = (
        np.bincount(ring, weights=power, minlength=_RINGS)[count > 0]
        for power in (np.abs(spectrum[shell]) ** 2, gain[shell] ** 2)
    )
    ratio = float(np.exp(np.mean(np.log(np.maximum(signal, 1e-30) / noise))))
    return math.sqrt(NOISE_OVER_SIGNAL * ratio / (filled * grid.voxels))


def draw_noise(grid: Grid, gain: Array, symmetry: str, rng: np.random.Generator) -> Array:
    """Return one draw of noise: (z, y, x) float32."""
    white = rng.standard_normal(grid.shape, dtype=np.float32)
    flat = symmetry == "C1"
    spectrum = fft.rfftn(white if flat else symmetrised(white, symmetry))
    if not flat:
        _flatten(spectrum)
    spectrum *= gain
    return np.asarray(fft.irfftn(spectrum, s=grid.shape, overwrite_x=True), dtype=np.float32)


def _flatten(spectrum: Array) -> None:
    """Make noise white again after turning about z, which blurs it across the axis alone. In place."""
    nz, ny, columns = spectrum.shape
    y, x = np.fft.fftfreq(ny) * ny, np.arange(columns)
    ring = np.rint(np.hypot(y[:, None], x[None, :])).astype(int)
    power = np.zeros((ny, columns))
    for plane in spectrum:
        power += plane.real**2 + plane.imag**2
    mean = np.bincount(ring.ravel(), weights=power.ravel()) / np.bincount(ring.ravel())
    voxels = nz * ny * 2 * (columns - 1)
    spectrum *= np.sqrt(voxels * nz / np.maximum(mean, 1e-30)).astype(np.float32)[ring]
