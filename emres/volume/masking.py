"""Where the molecule is: masks found, cleaned, grown, softened, and values carried a little beyond them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from emres.errors import MapError, UsageError
from emres.volume.grid import Triple

Array = np.ndarray[Any, Any]

# Å: the scale on which a molecule differs from its solvent, and more where strong noise hides that.
_SMOOTHINGS = (4.0, 6.0, 9.0, 13.0)
_SHARE_OF_TOP = 0.05  # of the highest smoothed density
_NOISE_SDS = 4.0
_ALIKE_SDS = 0.5  # of the noise: as well as its mean is known from the faces
_SMALL_OFFSET = 0.1  # of the highest smoothed density: up to here the share of it is above the solvent anyway
# Of the highest smoothed density: noise above it may be none; hides the molecule; leaves nothing of it.
_DOUBTFUL, _STRONG, _NOT_ALL = 0.2, 0.3, 0.5
_GAIN = 0.95  # a molecule stands out the more from its noise, the more both are smoothed
_DUST = 0.01  # of the largest piece
_BALL = 0.97  # share of a ball that must differ from what fills the corners, so that it is a particle's sphere
_RIM = (0.7, 0.85)  # of its radius: beyond the molecule, and not yet faded


def automatic_mask(values: Array, voxel_size: Triple) -> Array:
    """Find the molecule without being told a contour level.

    Smoothed density above a twentieth of its maximum and above the noise at the faces of the box, or near the edge of
    the particle's sphere, if there is one; where most of the box is one exact value (a masked map), only where the map
    differs from it; without dust.

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
    part = differing(values) or (slice(None),) * 3  # how a box is padded says nothing
    mask = np.zeros(values.shape, dtype=bool)
    mask[part] = _above_solvent(values[part], voxel_size)
    return without_dust(mask & _support(values))


def _above_solvent(values: Array, voxel_size: Triple) -> Array:
    """Return where the smoothed density is above the solvent; where strong noise hides that, smoothed the more."""
    rim = sphere_rim(values)
    density = values.astype(np.float32) - (0 if rim is None else values.flat[0])
    above, noise, top = _judged(density, _SMOOTHINGS[0], voxel_size, rim)
    if not top > 0 or float(values.min()) == float(values.max()):
        raise MapError(
            "no molecule was found in the map",
            got=f"a highest smoothed density of {top:.6g}",
            expected="positive density",
            cure="pass --mask none, or a mask file",
        )
    if noise <= _STRONG * top:
        return np.asarray(above > max(_SHARE_OF_TOP * top, noise))
    best, share = above > _SHARE_OF_TOP * top, min(_NOT_ALL, _GAIN * noise / top)
    for smoothing in _SMOOTHINGS[1:]:
        above, noise, top = _judged(density, smoothing, voxel_size, rim)
        if not 0 < noise < share * top:
            break  # it gains nothing any more
        best, share = above > noise, noise / top
        if share <= _STRONG:
            break
    return np.asarray(best)


def _judged(density: Array, smoothing: float, voxel_size: Triple, rim: Array | None) -> tuple[Array, float, float]:
    """Return smoothed density without its offset, what noise reaches in it (0: none shows), and what the highest is."""
    smooth = ndimage.gaussian_filter(density, [max(smoothing / size, 1.2) for size in voxel_size])
    beside = _faces(smooth) if rim is None else smooth[rim]
    mean, deviation = _noise(beside)
    offset = _offset(smooth, mean, deviation) if rim is None else 0.0
    above, noise = smooth - np.float32(offset), mean - offset + _NOISE_SDS * deviation
    top = float(above.max())
    # A molecule that touches most of the faces (a tight crop), or fills its sphere, is not noise.
    if noise > _DOUBTFUL * top and not _all_noise(beside, mean, offset, top):
        noise = 0.0
    return above, noise, top


def _offset(smooth: Array, mean: float, deviation: float) -> float:
    """Return what a map is offset by: its noise lies round it, and it is no small share of the highest density."""
    # What the faces and most voxels have alike is noise round an offset, not a molecule that reaches the faces.
    mode, width = _mode(smooth)
    alike = abs(mode - mean) <= _ALIKE_SDS * deviation + width
    return mean if alike and abs(mean) > _SMALL_OFFSET * abs(float(smooth.max())) else 0.0


def _all_noise(beside: Array, mean: float, offset: float, top: float) -> bool:
    """Whether what lies beside a molecule is noise: as far from its mean above as below, and round nothing."""
    low, high = np.quantile(beside, (0.25, 0.75)) - mean
    return bool(high < -2 * low and mean - offset < _STRONG * top)


def _faces(values: Array) -> Array:
    return np.concatenate([np.ravel(np.take(values, k, axis=axis)) for axis in range(3) for k in (0, -1)])


def sphere_rim(values: Array) -> Array | None:
    """Return the voxels near the edge of a particle's sphere, which the box may cut; None if the map has none.

    Beyond it the map is one exact value: the faces of the box say nothing of the noise.
    """
    there = values != values.flat[0]
    if not (values[np.ix_(*((0, -1) for _ in range(3)))] == values.flat[0]).all() or not there.any():
        return None
    along = (np.linspace(-1, 1, n, dtype=np.float32) * (n / max(values.shape)) for n in values.shape)
    z, y, x = (np.square(line) for line in along)
    square = z[:, None, None] + y[:, None] + x
    radius = float(square[there].max()) ** 0.5
    if there[square < (_BALL * radius) ** 2].mean() < _BALL:
        return None
    low, high = ((share * radius) ** 2 for share in _RIM)
    return np.asarray((square > low) & (square < high))


def _noise(beside: Array) -> tuple[float, float]:
    """Return mean and standard deviation of the noise beside a molecule: a map may be offset.

    Both come from the lowest quarter of the smoothed density there, as a molecule may reach the rest: a twentieth of
    Gaussian noise lies 1.645 standard deviations below its mean, and a quarter 0.674.
    """
    twentieth, quarter = (float(value) for value in np.quantile(beside, (0.05, 0.25)))
    deviation = (quarter - twentieth) / (1.645 - 0.674)
    return quarter + 0.674 * deviation, deviation


def _mode(smooth: Array) -> tuple[float, float]:
    """Return the density that most voxels have, and how finely it is known."""
    counts, edges = np.histogram(smooth, bins=256)
    k = int(counts.argmax())
    return float(edges[k] + edges[k + 1]) / 2, float(edges[k + 1] - edges[k])


def differing(values: Array) -> tuple[slice, slice, slice] | None:
    """Return the part round what differs from the one value in all corners; None if there is no such value, or nothing.

    Parameters
    ----------
    values : (z, y, x)
    """
    corners = values[np.ix_(*((0, -1) for _ in range(3)))]
    if not (corners == corners.flat[0]).all():
        return None
    found = ndimage.find_objects((values != corners.flat[0]).astype(np.int8))
    return found[0] if found else None


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
        planes = np.moveaxis(mask, axis, 0)
        found = planes[::factor].copy(order="K")
        for k in range(1, factor):  # whole planes at a time: numpy's reduceat goes voxel by voxel
            others = planes[k::factor]
            found[: len(others)] |= others
        mask = np.moveaxis(found, 0, axis)
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
