"""How a local resolution is distributed, and how two of them compare."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

POINTS = 1500  # of a scatter plot

_STEP, _BINS = 0.01, 40_000  # Å; up to 400 Å
_MOST_BARS = 60
_LEAST_SPAN = 0.2  # Å, of a histogram
_WIDTHS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # Å, of a histogram's bars


class Distribution:
    """The values of a resolution map, counted in steps of 0.01 Å, slab by slab.

    Examples
    --------
    >>> seen = Distribution()
    >>> seen.add(np.array([0, 3.0, 4.0, 5.0, np.nan]))
    >>> seen.voxels, seen.undetermined, round(seen.quantile(0.5), 2)
    (3, 1, 4.0)
    """

    def __init__(self) -> None:
        self.counts = np.zeros(_BINS, dtype=np.int64)
        self.undetermined = 0

    def add(self, values: Array) -> None:
        """Take in a slab (Å; 0 outside the mask, NaN where not determined)."""
        self.undetermined += int(np.isnan(values).sum())
        known = values[values > 0]
        # To the nearest step, so that the levels of a method that has levels stay what they are.
        steps = np.minimum(np.rint(known * np.float32(1 / _STEP)), _BINS - 1).astype(np.int64)
        self.counts += np.bincount(steps, minlength=_BINS)

    @property
    def voxels(self) -> int:
        """How many voxels have a value."""
        return int(self.counts.sum())

    def quantile(self, share: float) -> float:
        """Return the value (Å) below which a share of the voxels lies; NaN where there are none."""
        if not self.voxels:
            return math.nan
        return round(float(np.searchsorted(np.cumsum(self.counts), share * self.voxels)) * _STEP, 2)

    def histogram(self, edges: Array) -> list[int]:
        """Return the number of voxels between edges (Å, multiples of 0.01)."""
        below = np.concatenate([[0], np.cumsum(self.counts)])
        return [int(n) for n in np.diff(below[np.minimum(np.rint(edges / _STEP).astype(int), _BINS)])]


def histogram_edges(seen: Distribution) -> Array:
    """Return edges (Å) of bars of a round width which hold nearly all voxels."""
    if not seen.voxels:
        return np.array([0.0, 1.0])
    low, high = seen.quantile(0.002), seen.quantile(0.998)
    width = next((width for width in _WIDTHS if (high - low) / width <= _MOST_BARS), _WIDTHS[-1])
    room = max(_LEAST_SPAN - (high - low), 0) / 2
    first, last = math.floor((low - room) / width) - 1, math.ceil((high + room) / width) + 1
    return np.asarray(np.arange(max(first, 0), last + 1) * width)


@dataclass(frozen=True)
class Pair:
    """How two results compare on the voxels where both have a value.

    Parameters
    ----------
    first, second : int
        Which results.
    voxels : int
    spearman : float or None
        Rank correlation; none where one of the two is constant.
    difference : float
        Mean absolute difference, Å.
    shift : float
        Median of second minus first, Å.
    """

    first: int
    second: int
    voxels: int
    spearman: float | None
    difference: float
    shift: float


def compared(samples: Array) -> list[Pair]:
    """Compare every two results.

    Parameters
    ----------
    samples : (results, voxels) float32
        Å at the same voxels; 0 or NaN where a result has none.
    """
    return [
        pair
        for first, second in combinations(range(len(samples)), 2)
        if (pair := _pair(samples, first, second)) is not None
    ]


def _pair(samples: Array, first: int, second: int) -> Pair | None:
    both = (samples[first] > 0) & (samples[second] > 0)
    a, b = (samples[k][both].astype(np.float64) for k in (first, second))
    if a.size < 2:
        return None
    off = b - a
    return Pair(first, second, a.size, _spearman(a, b), float(np.abs(off).mean()), float(np.median(off)))


def _spearman(a: Array, b: Array) -> float | None:
    from scipy.stats import rankdata

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def scatter_points(samples: Array, most: int = POINTS, seed: int = 0) -> list[list[float | None]]:
    """Return the values (Å) of each result at a few random voxels where at least two have one."""
    shared = np.flatnonzero((samples > 0).sum(axis=0) >= 2)
    chosen = np.random.default_rng(seed).permutation(shared)[:most]
    return [[round(float(v), 2) if v > 0 else None for v in row[chosen]] for row in samples]
