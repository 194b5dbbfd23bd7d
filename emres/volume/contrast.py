"""How the power in a molecule differs from place to place, shell by shell: what tells signal from noise in any map.

Noise is as strong in one part of a molecule as in another; signal is not, and where it is strong in one shell it is in
the next. So the spread of the local power falls, from shell to shell, down to what chance alone gives, where the signal
ends. No filter changes that, nor does a mask as long as the windows lie inside it: it needs no noise beside the
molecule, and no word of the map's authors. Where a filter left nothing, all that a window sees is what leaks from other
shells, which differs from place to place as they do: hence a taper that leaks little.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emres.volume.blocks import Box
from emres.volume.spectrum import CELL, thinned
from emres.volume.window_power import frequencies, taper, window_power

Array = np.ndarray[Any, Any]
Read = Callable[[Box], Array]

WIDTH = 24  # voxels of a window
SHELLS = len(frequencies(WIDTH))
PARTS = ("weak", "strong", "likeness", "rise")
NUMBERS = len(PARTS) * SHELLS + 1
_ORDER = 4  # of the taper
_MOST = 500  # windows
_TOGETHER = 96  # windows that are held at once
_OUTER = 0.5  # share of the windows, those that reach farthest beyond the molecule, which are left out
_APART = 6  # shells from one to another that no taper smears into it
_COARSE = 6  # shells in which every part of a molecule has signal
_TAIL = 0.05  # share of the windows that are weak, or strong
_THIRD = 1 / 3
_FEWEST = 12  # windows that tell anything
_USUAL_CELLS = 100.0


@dataclass(frozen=True)
class Contrast:
    """What differs from window to window of a molecule, in shells 1/24 to 1/2 per voxel.

    Parameters
    ----------
    weak, strong : (23,) tuple of float
        How far the logarithm of the power of the weakest and of the strongest twentieth of the windows lies from its
        median. Of noise alone about 0.16.
    likeness : (23,) tuple of float
        Correlation of the logarithms of power with those of shells 1/8 per voxel coarser. Of noise alone about 0.
    rise : (23,) tuple of float
        Their mean in the third of the windows with most power in the coarse shells, over that with least.
    cells : int
        Cells of 8^3 voxels in the molecule: how much chance there is in these numbers.
    """

    weak: tuple[float, ...]
    strong: tuple[float, ...]
    likeness: tuple[float, ...]
    rise: tuple[float, ...]
    cells: int = 0

    def diluted(self, share: Array) -> Contrast:
        """Return what is left where only a share of the power, (23,), is what it was, and the rest alike everywhere."""
        weak, strong, rise = (_tuple(np.array(part) * share) for part in (self.weak, self.strong, self.rise))
        return replace(self, weak=weak, strong=strong, rise=rise)

    @property
    def frequency(self) -> Array:
        """Of the shells, 1/voxel."""
        return frequencies(WIDTH)

    @property
    def numbers(self) -> Array:
        """All of it, (93,) float64, of order one."""
        size = math.log(max(self.cells, 1) / _USUAL_CELLS) / 2
        return np.concatenate([*(np.array(getattr(self, name)) / 2 for name in PARTS), [size]])


def _tuple(values: Array) -> tuple[float, ...]:
    return tuple(np.round(values, 4).tolist())


def molecule_contrast(read: Read, needed: Read, cells: Array) -> Contrast | None:
    """Return how the power in a molecule differs from place to place.

    Parameters
    ----------
    read, needed : callable
        Return a box of the density, and of where the molecule is (bool); boxes may reach beyond the faces.
    cells : (z, y, x) bool
        True where any of a cell's 8^3 voxels is in the molecule.

    Returns
    -------
    Contrast or None
        None if the molecule has room for too few windows.
    """
    windows = [Box(_triple(place - WIDTH // 2), _triple(place + WIDTH // 2)) for place in _places(cells)]
    within = np.round([_within(needed(box)) for box in windows], 5)  # so that windows alike count alike
    chosen = np.flatnonzero((within > 0) & (within >= np.quantile(within, _OUTER)))
    if len(chosen) < _FEWEST:
        return None
    groups = np.array_split(chosen, -(-len(chosen) // _TOGETHER))
    powers = [window_power(np.stack([read(windows[k]) for k in of]), WIDTH, _ORDER) for of in groups]
    return contrast_of(np.concatenate(powers), int(cells.sum()))


def contrast_of(powers: Array, cells: int = 0) -> Contrast:
    """Return the contrast of windows from their power, (windows, 23) float, positive where it is not rounded away."""
    logs = np.log(np.maximum(powers, 1e-12 * max(float(powers.max()), 1e-30)))
    scores = (logs - logs.mean(axis=0)) / np.maximum(logs.std(axis=0), 1e-6)
    likeness = (scores * scores[:, np.maximum(np.arange(SHELLS) - _APART, 0)]).mean(axis=0)
    low, middle, high = np.quantile(logs, (_TAIL, 0.5, 1 - _TAIL), axis=0)
    order = np.argsort(logs[:, :_COARSE].mean(axis=1), kind="stable")
    part = max(1, round(_THIRD * len(order)))
    rise = logs[order[-part:]].mean(axis=0) - logs[order[:part]].mean(axis=0)
    return Contrast(_tuple(middle - low), _tuple(high - middle), _tuple(likeness), _tuple(rise), cells)


def _places(cells: Array) -> Array:
    """Return the middles of windows, voxels: of a small molecule eight to a cell, of others as many as are enough."""
    halves = np.argwhere(cells)[:, None] * 2 + np.indices((2, 2, 2)).reshape(3, -1).T
    return thinned(halves.reshape(-1, 3), _MOST) * (CELL // 2) + CELL // 4


def _within(inside: Array) -> float:
    """Return how much of a window lies in the molecule, by the square of its taper."""
    line = np.square(taper(WIDTH, _ORDER))
    return float(np.einsum("zyx,z,y,x", inside, line, line, line) / line.sum() ** 3)


def _triple(values: Array) -> tuple[int, int, int]:
    z, y, x = (int(value) for value in values)
    return z, y, x
