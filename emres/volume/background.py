"""The noise of a map, from windows beside its molecule.

Not all that lies beside a molecule is noise at its full strength. A particle's sphere or a soft mask fades it out, and
a belt of detergent, a neighbour or what the mask missed add to it. So windows are compared: those much weaker than the
strong ones are left out, and those that stand out at low frequencies; of the rest, the median speaks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from emres.volume.blocks import Box
from emres.volume.boxes import bounding_box
from emres.volume.spectrum import CELL, NYQUIST, rounded, thinned, window_at, window_powers

Array = np.ndarray[Any, Any]

# Voxels of a window -> how many are looked at. The larger, the finer the spectrum; the smaller, the nearer they lie.
SIDES = {48: 24, 32: 48, 16: 128}
_RING = 3.0  # cells beyond the nearest clear window that still are near
_STRONG, _FULL = 0.8, 0.4  # quantile of windows that counts as strong; power over that of the strong ones
_AS_STRONG = 0.75  # of what smaller windows, which lie nearer, show
_OUTSTANDING = 2.5  # times the median at low frequencies: more than noise
_LOW = slice(1, NYQUIST // 3)
_ALL = slice(1, NYQUIST + 1)
_ROUNDING, _FILTERED = 1e-9, 3e-3  # of the largest power, of that of most of the noise: below it is nothing
# Of the power in the molecule: where signal reaches the finest shells, at 3/4 of all power noise is the most there.
_UP_TO_NYQUIST = 0.7
_SMEARED = 5  # shells


def background_power(read: Callable[[Box], Array], cells: Array, room: Box) -> tuple[float, ...]:
    """Return the power of the noise beside a molecule, shell by shell.

    Parameters
    ----------
    read : callable
        Returns a box of the density.
    cells : (z, y, x) bool
        True where any of a cell's 8^3 voxels is in the molecule.
    room : Box
        Voxels of the volume, counted from the first cell.

    Returns
    -------
    (43,) tuple of float
        As :class:`emres.volume.spectrum.Spectra` has it; empty where the box has no room beside its molecule.
    """
    best: Array | None = None
    for side in sorted(SIDES):
        powers = window_powers(read(box) for box in clear_windows(cells, room, side))
        if not len(powers):
            break  # nor is there room for a larger one
        power = typical_noise(powers)
        if best is not None and np.median(_over(power, best)[_ALL]) < _AS_STRONG:
            break
        best = power
    return () if best is None else rounded(best)


def typical_noise(powers: Array) -> Array:
    """Return the power of noise from that of windows which hold noise, faded noise, and more than noise.

    Parameters
    ----------
    powers : (windows, 43) float
        At least one.

    Returns
    -------
    (43,) float
    """
    strong = np.quantile(powers, _STRONG, axis=0)
    full = powers[np.median(_over(powers, strong)[:, _ALL], axis=1) >= _FULL]
    typical: Array = np.median(full, axis=0)
    plain = full[np.median(_over(full, typical)[:, _LOW], axis=1) <= _OUTSTANDING]
    return np.asarray(np.median(plain, axis=0))


def trusted(outside: tuple[float, ...], inside: tuple[float, ...]) -> tuple[float, ...]:
    """Return the noise beside a molecule if it is that in the molecule too: if at some frequency both are alike.

    Where they are not, a sphere or a soft mask has faded what lies beside. What the noise was before could be told from
    the ratio of the two; of simulated deposits whose noise was, the answer was off by more than a third in 70 of 100.

    Parameters
    ----------
    outside, inside : (43,) tuple of float
        Power beside the molecule and in it.

    Returns
    -------
    (43,) tuple of float
        Zeros if it is not to be trusted; empty if ``outside`` is.

    Examples
    --------
    >>> signal = np.where(np.arange(43) < 12, 5.0, 0.0)
    >>> trusted((1.0,) * 43, tuple(signal + 1.0))[:2], trusted((0.25,) * 43, tuple(signal + 1.0))[:2]
    ((1.0, 1.0), (0.0, 0.0))
    """
    if not outside:
        return ()
    # At the sampling of the smallest windows: an edge in the spectrum is broader there.
    noise, power = ndimage.uniform_filter1d(np.array([outside, inside]), _SMEARED, mode="nearest")
    # What a low-pass left nothing of, or lies beyond the finest that is in a map, is rounding in both.
    there = (noise > _FILTERED * np.quantile(noise[_ALL], 0.9)) & (power > _ROUNDING * power.max())
    share = float((noise / np.where(there, power, np.inf))[_ALL].max())
    return outside if share >= _UP_TO_NYQUIST else (0.0,) * len(outside)


def _over(power: Array, other: Array) -> Array:
    """Return a ratio of powers, 1 where both are nothing."""
    floor = 1e-12 * max(float(other.max()), 1e-30)
    return np.asarray((power + floor) / (other + floor))


def clear_windows(cells: Array, room: Box, side: int) -> list[Box]:
    """Choose windows that hold nothing of a molecule, among those nearest to it.

    Parameters
    ----------
    cells : (z, y, x) bool
    room : Box
        Voxels of the volume, counted from the first cell.
    side : int
        Voxels of a window, a multiple of 8.

    Returns
    -------
    list of Box
        At most ``SIDES[side]``.
    """
    width = side // CELL
    first, last = np.array([[-(-a // CELL) for a in room.start], [b // CELL for b in room.stop]])  # of whole cells
    if bounding_box(cells) is None or (last - first).min() < width:
        return []
    whole = cells[tuple(map(slice, first, last))]
    # A maximum over the window that begins at each cell: the filter is centred, so it is moved back.
    taken = ndimage.maximum_filter(whole, size=width, origin=-(width // 2), mode="constant")
    clear = ~taken[tuple(slice(n - width + 1) for n in whole.shape)]
    if not clear.any():
        return []
    distance = ndimage.distance_transform_edt(~whole)
    for axis, n in enumerate(clear.shape):  # the nearer of the two cells in the middle of each window
        before, behind = (np.take(distance, np.arange(k, k + n), axis) for k in (width // 2 - 1, width // 2))
        distance = np.minimum(before, behind)
    near = np.argwhere(clear & (distance <= distance[clear].min() + _RING))
    return [window_at((index + first) * CELL, room, side) for index in thinned(near, SIDES[side])]
