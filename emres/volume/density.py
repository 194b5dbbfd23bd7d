"""Numbers and masks of a whole volume: computed once, then passed on. Nothing here is ever computed per block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from emres.errors import MapError, UsageError
from emres.volume.grid import Triple

Array = np.ndarray[Any, Any]

_PIECE = 1 << 16  # voxels: in double precision they just fit a core's cache

_SMOOTHING = 4.0  # Å: the scale on which a molecule differs from its solvent
_SHARE_OF_TOP = 0.05  # of the highest smoothed density
_NOISE_SDS = 4.0
_DUST = 0.01  # of the largest piece


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


def automatic_mask(values: Array, voxel_size: Triple) -> Array:
    """Find the molecule without being told a contour level.

    Smoothed density above a twentieth of its maximum and above the noise at the faces of the box; where most of the
    box is one exact value (a masked map), only where the map differs from it; without dust.

    Parameters
    ----------
    values : (z, y, x) density
        Best at 1.5-3 Å per voxel: average finer maps first.
    voxel_size : (z, y, x) Å

    Returns
    -------
    (z, y, x) bool

    Raises
    ------
    MapError
        If the map is constant.
    """
    sigma = [max(_SMOOTHING / size, 1.2) for size in voxel_size]
    smooth = ndimage.gaussian_filter(values.astype(np.float32, copy=False), sigma)
    top = float(smooth.max())
    if not top > 0 or float(values.min()) == float(values.max()):
        raise MapError(
            "no molecule was found in the map",
            got=f"a highest smoothed density of {top:.6g}",
            expected="positive density",
            cure="pass --mask none, or a mask file",
        )
    threshold = _SHARE_OF_TOP * top
    noise = _noise_level(smooth)
    # A molecule that touches most of the faces (a tight crop) is not noise.
    if noise <= 4 * threshold:
        threshold = max(threshold, noise)
    return without_dust((smooth > threshold) & _support(values))


def _noise_level(smooth: Array) -> float:
    """Return what noise hardly exceeds, judged by the faces of the box: mean and four standard deviations.

    Both come from the lowest quarter of the faces, as a molecule may touch the rest: a twentieth of Gaussian noise
    lies 1.645 standard deviations below its mean, and a quarter 0.674.
    """
    faces = np.concatenate([np.ravel(np.take(smooth, k, axis=axis)) for axis in range(3) for k in (0, -1)])
    twentieth, quarter = (float(value) for value in np.quantile(faces, (0.05, 0.25)))
    deviation = (quarter - twentieth) / (1.645 - 0.674)
    return quarter + (0.674 + _NOISE_SDS) * deviation


def _support(values: Array) -> Array:
    """Return where a masked map differs from the one value that fills most of its box."""
    middle = np.partition(values.ravel(), values.size // 2)[values.size // 2]
    same = values == middle
    if same.mean() < 0.5:
        return np.ones(values.shape, dtype=bool)
    return np.asarray(ndimage.binary_closing(~same, iterations=1) | ~same)


def without_dust(mask: Array, share: float = _DUST) -> Array:
    """Drop the pieces of a mask that are smaller than a share of its largest piece.

    Parameters
    ----------
    mask : (z, y, x) bool
    share : float

    Returns
    -------
    (z, y, x) bool
    """
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= share * sizes.max())[labels])


def grown(mask: Array, voxels: int = 1) -> Array:
    """Grow a mask by whole voxels in every direction (z, y, x, diagonals too)."""
    return np.asarray(ndimage.maximum_filter(mask, size=2 * voxels + 1))


def block_any(mask: Array, factor: int) -> Array:
    """Tell for every cube of ``factor``^3 voxels whether any of them is in the mask.

    Parameters
    ----------
    mask : (z, y, x) bool
    factor : int

    Returns
    -------
    (ceil(z / factor), ...) bool
    """
    for axis in range(3):
        mask = np.logical_or.reduceat(mask, np.arange(0, mask.shape[axis], factor), axis=axis)
    return mask


def soft_edge(mask: Array, width: float) -> Array:
    """Return a mask that falls from 1 to 0 as a cosine over ``width`` voxels outside.

    Parameters
    ----------
    mask : (z, y, x) bool
    width : float
        Voxels.

    Returns
    -------
    (z, y, x) float32, 0-1

    Raises
    ------
    UsageError
        If the width is negative.
    """
    if width < 0:
        raise UsageError("a soft edge has no width", got=f"{width} voxels", expected="0 or more")
    if width == 0:
        return mask.astype(np.float32)
    distance = np.clip(ndimage.distance_transform_edt(~mask) / width, 0, 1)
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * distance), dtype=np.float32)


def fill_outside(values: Array, voxels: int = 5) -> Array:
    """Carry a resolution map a few voxels beyond its mask, each voxel taking the nearest value.

    Colouring a surface samples the map at and beyond the edge of the mask, where a 0 would bleed in as streaks.

    Parameters
    ----------
    values : (z, y, x) float32
        0 outside the mask. A voxel's answer depends on those within ``voxels`` of it alone, so a big map can be filled
        in parts that overlap by as much.
    voxels : int
        How far.

    Returns
    -------
    (z, y, x) float32
        ``values`` where they are not 0; still 0 farther out.

    Examples
    --------
    >>> fill_outside(np.array([[[0, 0, 0, 4.0, 5.0, 0]]], dtype=np.float32), voxels=2).tolist()
    [[[0.0, 4.0, 4.0, 4.0, 5.0, 5.0]]]
    """
    unset = values == 0
    if not unset.any() or unset.all():
        return values.copy()
    distance, nearest = ndimage.distance_transform_edt(unset, return_indices=True)
    return np.where(distance <= voxels, values[tuple(nearest)], np.float32(0))
