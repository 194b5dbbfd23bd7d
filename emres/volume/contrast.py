"""How the power in a molecule differs from place to place, shell by shell: what tells signal from noise in any map.

Noise is as strong in one part of a molecule as in another; signal is not, and where it is strong in one shell it is in
the next. So the spread of the local power falls, from shell to shell, down to what chance alone gives, where the signal
ends. No filter changes that, nor does a mask as long as the windows lie inside it: it needs no noise beside the
molecule, and no word of the map's authors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emres.volume.blocks import Box
from emres.volume.spectrum import CELL, thinned
from emres.volume.window_power import frequencies, window_power

Array = np.ndarray[Any, Any]
Read = Callable[[Box], Array]

WIDTH = 16  # voxels of a window
SHELLS = len(frequencies(WIDTH))
NUMBERS = 3 * SHELLS
_MOST = 1000  # windows
_FEW = 250  # cells: of fewer, there are eight windows a cell
_TOGETHER = 96  # windows that are held at once
_OUTER = 0.5  # share of the windows, those that reach farthest beyond the molecule, which are left out
_APART = 4  # shells from one to another that no taper smears into it
_COARSE = 4  # shells in which every part of a molecule has signal
_THIRD = 1 / 3
_FEWEST = 12  # windows that tell anything


@dataclass(frozen=True)
class Contrast:
    """What differs from window to window of a molecule, in shells 1/16 to 1/2 per voxel.

    Parameters
    ----------
    spread : (15,) tuple of float
        Standard deviation of the logarithm of the power. Of noise alone about 0.1.
    likeness : (15,) tuple of float
        Its correlation with that of shells 1/8 per voxel coarser. Of noise alone about 0.
    rise : (15,) tuple of float
        Its mean in the third of the windows with most power in the coarse shells, over that with least.
    """

    spread: tuple[float, ...]
    likeness: tuple[float, ...]
    rise: tuple[float, ...]

    def diluted(self, share: Array) -> Contrast:
        """Return what is left where only a share of the power, (15,), is what it was, and the rest alike everywhere."""
        spread, rise = (tuple((np.array(part) * share).tolist()) for part in (self.spread, self.rise))
        return replace(self, spread=spread, rise=rise)

    def with_errors(self, errors: Array) -> Contrast:
        """Return the contrast with errors of its :attr:`numbers`, (45,)."""
        spread, likeness, rise = (self.numbers + errors).reshape(3, SHELLS) * np.array([[1], [1], [2]])
        return Contrast(tuple(spread.tolist()), tuple(likeness.tolist()), tuple(rise.tolist()))

    @property
    def frequency(self) -> Array:
        """Of the shells, 1/voxel."""
        return frequencies(WIDTH)

    @property
    def numbers(self) -> Array:
        """All of it, (45,) float64, of order one."""
        return np.concatenate([self.spread, self.likeness, np.array(self.rise) / 2])


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
    within = np.array([_within(needed(box)) for box in windows])
    chosen = np.flatnonzero((within > 0) & (within >= np.quantile(within, _OUTER)))
    if len(chosen) < _FEWEST:
        return None
    groups = np.array_split(chosen, -(-len(chosen) // _TOGETHER))
    return contrast_of(np.concatenate([window_power(np.stack([read(windows[k]) for k in of]), WIDTH) for of in groups]))


def contrast_of(powers: Array) -> Contrast:
    """Return the contrast of windows from their power, (windows, 15) float, positive where it is not rounded away."""
    logs = np.log(np.maximum(powers, 1e-12 * max(float(powers.max()), 1e-30)))
    spread = logs.std(axis=0)
    scores = (logs - logs.mean(axis=0)) / np.maximum(spread, 1e-6)
    coarser = np.maximum(np.arange(SHELLS) - _APART, 0)
    likeness = (scores * scores[:, coarser]).mean(axis=0)
    order = np.argsort(logs[:, :_COARSE].mean(axis=1), kind="stable")
    part = max(1, round(_THIRD * len(order)))
    rise = logs[order[-part:]].mean(axis=0) - logs[order[:part]].mean(axis=0)
    spread, likeness, rise = (tuple(np.round(values, 4).tolist()) for values in (spread, likeness, rise))
    return Contrast(spread, likeness, rise)


def _places(cells: Array) -> Array:
    """Return the middles of windows, voxels."""
    found = np.argwhere(cells) * CELL
    if len(found) >= _FEW:
        return thinned(found // CELL, _MOST) * CELL + CELL // 2
    steps = np.stack(np.meshgrid(*[(CELL // 4, 3 * CELL // 4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.asarray((found[:, None] + steps).reshape(-1, 3))


def _within(inside: Array) -> float:
    """Return how much of a window lies in the molecule, by the square of its taper."""
    line = np.sin(np.pi * (np.arange(WIDTH) + 0.5) / WIDTH) ** 4
    return float(np.einsum("zyx,z,y,x", inside, line, line, line) / line.sum() ** 3)


def _triple(values: Array) -> tuple[int, int, int]:
    z, y, x = (int(value) for value in values)
    return z, y, x
