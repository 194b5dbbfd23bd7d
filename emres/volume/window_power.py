"""The power of small windows of a map, in shells half a coefficient apart."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from scipy import fft

Array = np.ndarray[Any, Any]

SHELL_WIDTH = 0.4  # sigma of a shell, in coefficients of a window
_SHELL = 0.5  # distance of shells
_TOGETHER = 12  # windows that are transformed at once: three times as fast as all of them, which no cache holds


def frequencies(width: int) -> Array:
    """Return the frequencies of the shells, 1/voxel: from one coefficient of the window on to 1/2.

    Examples
    --------
    >>> frequencies(4)
    array([0.25 , 0.375, 0.5  ])
    """
    return np.arange(2, int(width / 2 / _SHELL) + 1) * _SHELL / width


def window_power(windows: Array, width: int, order: int = 2) -> Array:
    """Return the power of windows, through a taper; white noise of variance 1 has 1.

    Parameters
    ----------
    windows : (n, width, width, width) float32
    width : int
        Voxels.
    order : int
        Of the taper. A Hann, 2, is narrow. 4 keeps strong shells from leaking into others that a filter left nothing
        of, and tells shells apart as a Hann of 2/3 of the width does.

    Returns
    -------
    (n, shells) float32
    """
    tapers, weights = _taper(width, order), _shell_weights(width, order)
    found = np.empty((len(windows), weights.shape[1]), dtype=np.float32)
    for k in range(0, len(windows), _TOGETHER):
        some = windows[k : k + _TOGETHER]
        spectrum = fft.rfftn(some * tapers, axes=(1, 2, 3)).reshape(len(some), -1)
        power = np.square(spectrum.real)
        power += np.square(spectrum.imag)
        found[k : k + _TOGETHER] = power @ weights
    return found


def taper(width: int, order: int = 2) -> Array:
    """Return a window's taper along one axis, a power of a sine, by default a Hann: (width,) float64."""
    return np.asarray(np.sin(np.pi * (np.arange(width) + 0.5) / width) ** order)


@lru_cache(maxsize=8)
def _taper(width: int, order: int) -> Array:
    line = taper(width, order)
    return np.asarray(line[:, None, None] * line[:, None] * line, dtype=np.float32)


@lru_cache(maxsize=8)
def _shell_weights(width: int, order: int) -> Array:
    """Return by what the squares of coefficients are summed to a mean power: (coefficients, shells) float32."""
    along, half = fft.fftfreq(width), fft.rfftfreq(width)
    radius = np.sqrt(along[:, None, None] ** 2 + along[:, None] ** 2 + half**2)
    both = np.full(radius.shape, 2.0)
    both[..., [0, -1]] = 1
    distance = (radius.ravel() - frequencies(width)[:, None]) * width / SHELL_WIDTH
    weights = np.exp(-0.5 * np.square(distance)) * both.ravel()
    norm = np.square(_taper(width, order), dtype=np.float64).sum()
    return np.asarray((weights / weights.sum(axis=1, keepdims=True) / norm).T, dtype=np.float32)
