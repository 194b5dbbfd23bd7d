"""Where the molecule is: masks found, cleaned, grown, softened, and values carried a little beyond them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from emres.errors import MapError, UsageError
from emres.volume.grid import Triple

Array = np.ndarray[Any, Any]

_SMOOTHING = 4.0  # Å: the scale on which a molecule differs from its solvent
_SHARE_OF_TOP = 0.05  # of the highest smoothed density
_NOISE_SDS = 4.0
_ALIKE_SDS = 0.5  # of the noise: as well as its mean is known from the faces
_SMALL_OFFSET = 0.1  # of the highest smoothed density: up to here the share of it is above the solvent anyway
_DUST = 0.01  # of the largest piece


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
    part = _filled(values)
    mask = np.zeros(values.shape, dtype=bool)
    mask[part] = _above_solvent(values[part], voxel_size)
    return without_dust(mask & _support(values))


def _above_solvent(values: Array, voxel_size: Triple) -> Array:
    sigma = [max(_SMOOTHING / size, 1.2) for size in voxel_size]
    smooth = ndimage.gaussian_filter(values.astype(np.float32, copy=False), sigma)
    mean, deviation = _noise(smooth)
    top = float(smooth.max())
    # What the faces and most voxels have alike is noise round an offset, not a molecule that reaches the faces.
    mode, width = _mode(smooth)
    alike = abs(mode - mean) <= _ALIKE_SDS * deviation + width
    offset = mean if alike and abs(mean) > _SMALL_OFFSET * abs(top) else 0.0
    top -= offset
    if not top > 0 or float(values.min()) == float(values.max()):
        raise MapError(
            "no molecule was found in the map",
            got=f"a highest smoothed density of {top:.6g}",
            expected="positive density",
            cure="pass --mask none, or a mask file",
        )
    threshold, noise = _SHARE_OF_TOP * top, mean - offset + _NOISE_SDS * deviation
    # A molecule that touches most of the faces (a tight crop) is not noise.
    if noise <= 4 * threshold:
        threshold = max(threshold, noise)
    return np.asarray(smooth - offset > threshold)


def _noise(smooth: Array) -> tuple[float, float]:
    """Return mean and standard deviation of the noise, judged by the faces of the box: a map may be offset.

    Both come from the lowest quarter of the faces, as a molecule may touch the rest: a twentieth of Gaussian noise
    lies 1.645 standard deviations below its mean, and a quarter 0.674.
    """
    faces = np.concatenate([np.ravel(np.take(smooth, k, axis=axis)) for axis in range(3) for k in (0, -1)])
    twentieth, quarter = (float(value) for value in np.quantile(faces, (0.05, 0.25)))
    deviation = (quarter - twentieth) / (1.645 - 0.674)
    return quarter + 0.674 * deviation, deviation


def _mode(smooth: Array) -> tuple[float, float]:
    """Return the density that most voxels have, and how finely it is known."""
    counts, edges = np.histogram(smooth, bins=256)
    k = int(counts.argmax())
    return float(edges[k] + edges[k + 1]) / 2, float(edges[k + 1] - edges[k])


def _filled(values: Array) -> tuple[slice, ...]:
    """Return the part round what differs from the one value in all corners: how a box is padded says nothing."""
    whole = (slice(None),) * 3
    corners = values[np.ix_(*((0, -1) for _ in range(3)))]
    if not (corners == corners.flat[0]).all():
        return whole
    found = ndimage.find_objects((values != corners.flat[0]).astype(np.int8))
    return found[0] if found else whole


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
