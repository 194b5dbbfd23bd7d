"""Numbers of a whole volume: gathered once, slab by slab, then passed on. Nothing here is ever computed per block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from emres.errors import MapError

Array = np.ndarray[Any, Any]

_FLOOR = 0.2  # of all beside the molecule: so much is never alike by chance
_PIECE = 1 << 16  # voxels: in double precision they just fit a core's cache


@dataclass(frozen=True)
class Statistics:
    """Minimum, maximum, mean and standard deviation of a volume, in its own units."""

    minimum: float
    maximum: float
    mean: float
    std: float

    @property
    def constant(self) -> bool:
        """Whether all voxels are the same."""
        return self.minimum == self.maximum


class RunningStatistics:
    """Gather :class:`Statistics` slab by slab.

    Examples
    --------
    >>> running = RunningStatistics()
    >>> for slab in np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2):
    ...     running.add(slab)
    >>> running.result().mean
    3.5
    """

    def __init__(self) -> None:
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._minimum, self._maximum = math.inf, -math.inf

    def add(self, values: Array) -> None:
        """Take in one slab (any shape)."""
        flat = values.ravel()
        for start in range(0, flat.size, _PIECE):
            self._add_piece(flat[start : start + _PIECE])

    def _add_piece(self, values: Array) -> None:
        # Pieces are joined without losing digits to a large offset (Chan, Golub and LeVeque 1983).
        count, mean = values.size, float(values.mean(dtype=np.float64))
        deviations = values - np.float64(mean)
        squares = float(np.einsum("i,i", deviations, deviations))  # a BLAS product would start threads
        total, delta = self._count + count, mean - self._mean
        self._squares += squares + delta * delta * self._count * count / total
        self._mean += delta * count / total
        self._count = total
        self._minimum = min(self._minimum, float(values.min()))
        self._maximum = max(self._maximum, float(values.max()))

    def result(self) -> Statistics:
        """Return the statistics of everything added so far."""
        return Statistics(self._minimum, self._maximum, self._mean, math.sqrt(self._squares / max(self._count, 1)))


@dataclass(frozen=True)
class Normalisation:
    """How a volume becomes a net's input: ``(density - centre) / scale``."""

    centre: float
    scale: float

    def __call__(self, values: Array) -> Array:
        """Normalise an array of density."""
        return np.asarray((values - np.float32(self.centre)) * np.float32(1 / self.scale), dtype=np.float32)


class RobustStatistics:
    """Gather the :class:`Normalisation` of a volume slab by slab, from where its molecule is.

    The centre is the median outside the mask (0 where there is no outside) and the scale the root mean square
    inside: neither moves with the gain of the map, with the padding of its box, or with a mask round the molecule.

    Parameters
    ----------
    step : int
        The median is taken of every ``step``-th voxel along each axis; the scale of all.
    """

    def __init__(self, step: int = 1) -> None:
        self._every = (slice(None, None, step),) * 3
        self._outside: list[Array] = []
        self._count, self._reference = 0, 0.0
        self._sum, self._squares = 0.0, 0.0
        self._lowest, self._highest = math.inf, -math.inf

    def add(self, values: Array, mask: Array) -> None:
        """Take in a slab: (z, y, x) density, and True in the molecule."""
        sampled = self._every
        self._outside.append(values[sampled][~mask[sampled]])
        inside = values[mask].astype(np.float64)
        if not inside.size:
            return
        if not self._count:
            self._reference = float(inside[0])  # sums of squares about it do not lose the variance of an offset map
        inside -= self._reference
        self._count += inside.size
        self._sum += float(inside.sum())
        self._squares += float(inside @ inside)
        self._lowest = min(self._lowest, float(inside.min()))
        self._highest = max(self._highest, float(inside.max()))

    def result(self) -> Normalisation:
        """Return the normalisation.

        Raises
        ------
        MapError
            If the mask is empty or the density inside it is constant.
        """
        if not self._count:
            raise MapError("the mask holds no voxel", cure="use --mask auto or none, or a lower contour level")
        outside = np.concatenate(self._outside)
        centre = float(np.median(outside)) if outside.size else 0.0
        shift = centre - self._reference
        mean_square = (self._squares - 2 * shift * self._sum) / self._count + shift**2
        scale = math.sqrt(max(mean_square, 0.0))
        if not scale > 1e-30 or self._lowest == self._highest:
            raise MapError(
                "the map has no contrast inside the mask",
                got=f"{self._count} voxels of {self._reference:.6g}",
                expected="a density that varies",
                cure="check that the file is the right map",
            )
        return Normalisation(centre, scale)

    def stripped(self) -> bool:
        """Tell whether nothing lies below a value that much of all beside the molecule has.

        No map of a molecule is like that before somebody takes away what is negative, or what lies below a contour.
        """
        outside = np.concatenate(self._outside)
        if not outside.size:
            return False
        lowest = outside.min()
        return bool(lowest <= self._lowest + self._reference and (outside == lowest).mean() >= _FLOOR)


def robust_statistics(values: Array, mask: Array) -> Normalisation:
    """Return the normalisation of a volume that is held in memory; see :class:`RobustStatistics`.

    Parameters
    ----------
    values : (z, y, x) density
    mask : (z, y, x) bool
        True in the molecule.

    Raises
    ------
    MapError
        If the mask is empty or the density inside it is constant.
    """
    statistics = RobustStatistics()
    statistics.add(values, mask)
    return statistics.result()
