"""Local resolution on a lattice of places, and what it is between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emres.volume.grid import Shape
from emres.volume.resample import apply_matrices

Array = np.ndarray[Any, Any]

_REACH = 2  # of the interpolation, in values


@dataclass(frozen=True, eq=False)
class Levels:
    """Natural logarithm of the local resolution in voxels, on a lattice.

    Parameters
    ----------
    values : (z, y, x) float32 or float16
    start : (z, y, x)
        Voxel that the first of them lies before, on its face: windows of an even number of voxels have no voxel in
        their middle.
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
        """Return how far the voxels of a box, from any place in a volume on, are from the median: cubic between.

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
            _interpolation(n, m, a + 0.5 - first, self.step)
            for n, m, a, first in zip(shape, self.values.shape, starts, self.start, strict=True)
        )
        return np.asarray(apply_matrices(self.values.astype(np.float32) - np.float32(self.median), (z, y, x)))


def _interpolation(n: int, m: int, start: float, step: int) -> Array:
    """Return what takes ``m`` values, so many voxels apart, to ``n`` voxels: (n, m).

    Cubic convolution (Keys, IEEE Trans. ASSP 29, 1981) goes through the values, as straight lines do, and leaves a
    maximum between them its height. What is nearest goes on beyond the first and the last.
    """
    at = np.clip((start + np.arange(n)) / step, 0, m - 1)
    apart = np.abs(at[:, None] - np.arange(-_REACH, m + _REACH))
    near, far = (1.5 * apart - 2.5) * apart**2 + 1, ((-0.5 * apart + 2.5) * apart - 4) * apart + 2
    weights = np.where(apart < 1, near, np.where(apart < _REACH, far, 0))
    weights[:, _REACH] += weights[:, :_REACH].sum(axis=1)
    weights[:, -_REACH - 1] += weights[:, -_REACH:].sum(axis=1)
    return np.asarray(weights[:, _REACH:-_REACH], dtype=np.float32)
