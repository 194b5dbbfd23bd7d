"""What depositors do to the average of two half maps before it reaches the archive."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import fft

from emres.simulate.density import squared_frequency
from emres.simulate.halfmaps import HalfMaps, sphere
from emres.simulate.recipe import Processing
from emres.volume.boxes import bounding_box
from emres.volume.grid import Grid, as_shape
from emres.volume.masking import soft_edge
from emres.volume.resample import apply_matrices, resampling_matrices
from emres.volume.threads import one_blas_thread

Array = np.ndarray[Any, Any]

# No amplitude is raised by more than exp of this: sharpened noise would drown the map.
MOST_GAIN = 12.0
# A low-pass falls from 1 to 0 over about this share of its frequency, to either side.
_SOFT_CUT = 0.06
# Soft edge of the mask that FSC weighting looks through, voxels; FSC below this is noise.
_FSC_EDGE, _FSC_NOISE = 6.0, 0.05
# Stream of random numbers for the region that is kept.
_REGION = 16


def deposit(
    halves: HalfMaps, processing: Processing | None = None, *, same_grid: bool = False, most_gain: float = MOST_GAIN
) -> tuple[Array, Grid]:
    """Average two half maps and process them as a depositor would.

    Parameters
    ----------
    halves : HalfMaps
    processing : Processing, optional
        The recipe's own by default.
    same_grid : bool
        Carry what is deposited back to the half maps' grid, 0 where its box does not reach.
    most_gain : float
        Natural logarithm of the most that sharpening raises an amplitude by.

    Returns
    -------
    density : (z, y, x) float32
    grid : Grid
        The half maps' own, or a part of it, or another sampling; in the same coordinates, so that what is known on the
        half maps' grid can be carried over (`emres.volume.resample`).
    """
    processing = halves.recipe.processing if processing is None else processing
    filtered = processing.fsc_weighting or processing.sharpening or processing.low_pass
    gain = _gain(halves, processing, most_gain) if filtered else None
    density = halves.half_map_1 + halves.half_map_2
    density *= np.float32(0.5)
    if gain is not None:
        spectrum = fft.rfftn(density)
        spectrum *= gain
        density = fft.irfftn(spectrum, s=density.shape, overwrite_x=True)
    kept = kept_region(halves, processing)
    grid = deposited_grid(halves, processing, kept)
    mask = _mask(halves, processing, kept)
    level = None if processing.contour is None else np.float32(processing.contour) * _rms(density[kept])
    if not grid.matches(halves.grid):
        density = _resampled(np.asarray(density, dtype=np.float32), halves.grid, grid)
        mask = None if mask is None else _resampled(mask, halves.grid, grid, "linear")
    density = np.asarray(density if mask is None else density * mask, dtype=np.float32)
    if level is not None:
        density[density <= level] = 0
    if same_grid and not grid.matches(halves.grid):
        return _resampled(density, grid, halves.grid), halves.grid
    return density, grid


def _resampled(values: Array, source: Grid, target: Grid, kind: str = "fourier") -> Array:
    """Carry a volume to another grid, to the same bytes on any number of threads."""
    with one_blas_thread():
        return np.asarray(apply_matrices(values, resampling_matrices(source, target, kind)))


def _rms(values: Array) -> np.float32:
    return np.float32(np.sqrt(np.square(values, dtype=np.float64).mean()))


def kept_region(halves: HalfMaps, processing: Processing) -> Array:
    """Return the part of the molecule that is deposited: all, or what lies nearest a point of it. (z, y, x) bool."""
    if processing.region == 1:
        return halves.mask
    rng = np.random.default_rng([halves.recipe.seed, _REGION])
    inside = np.argwhere(halves.mask)
    centre = inside[rng.integers(len(inside))]
    distance = (((inside - centre) * np.array(halves.grid.voxel_size)) ** 2).sum(axis=1)
    nearest = inside[np.argsort(distance, kind="stable")[: max(1, round(processing.region * len(inside)))]]
    kept = np.zeros_like(halves.mask)
    kept[tuple(nearest.T)] = True
    return kept


def deposited_grid(halves: HalfMaps, processing: Processing, kept: Array) -> Grid:
    """Return the grid of the map that is deposited.

    Parameters
    ----------
    halves : HalfMaps
    processing : Processing
    kept : (z, y, x) bool
        See `kept_region`.
    """
    grid = halves.grid
    box = bounding_box(kept) if processing.crop else None
    if box is not None:
        margin = as_shape(math.ceil((processing.crop_margin + processing.mask_edge) / size) for size in grid.voxel_size)
        grid = grid.part(box.grown(margin).clipped(grid.shape))
    return grid.resampled(processing.voxel_size) if processing.voxel_size else grid


def _mask(halves: HalfMaps, processing: Processing, kept: Array) -> Array | None:
    """Return the soft mask that the map is multiplied by, or None."""
    if processing.mask == "none":
        return None
    if processing.mask == "sphere":
        return sphere(kept, halves.grid, halves.recipe.framing.padding)
    return near_edge(kept, processing.mask_edge / halves.grid.mean_voxel_size)


def near_edge(mask: Array, width: float) -> Array:
    """Return what `soft_edge` returns, from distances in the mask's own box alone, as most of a box is empty."""
    box = bounding_box(mask)
    soft = np.zeros(mask.shape, dtype=np.float32)
    if box is not None:
        reach = math.ceil(width)
        part = tuple(slice(max(0, a - reach), b + reach) for a, b in zip(box.start, box.stop, strict=True))
        soft[part] = soft_edge(mask[part], width)
    return soft


def _gain(halves: HalfMaps, processing: Processing, most_gain: float) -> Array:
    """Return the factor of every Fourier coefficient."""
    square = squared_frequency(halves.grid)
    gain = np.exp(np.minimum(square * np.float32(-processing.sharpening / 4), np.float32(most_gain)))
    if processing.fsc_weighting:
        weight, width = fsc_weight(halves)
        for plane, row in zip(gain, square, strict=True):
            plane *= weight[_shells(row, width)]
    if processing.low_pass:
        cut = np.float32(1 / processing.low_pass)
        offset = np.sqrt(square, out=square)
        offset -= cut
        offset /= np.float32(_SOFT_CUT) * cut
        gain *= np.float32(0.5) - np.float32(0.5) * np.tanh(offset, out=offset)
    return np.asarray(gain)


def fsc_weight(halves: HalfMaps) -> tuple[Array, float]:
    """Return sqrt(2 FSC / (1 + FSC)) of the halves in a soft mask, in shells, and the width of a shell (1/Å).

    Returns
    -------
    weight : (shells,) float32
        0 from the first shell on where the FSC is below 0.05.
    width : float
    """
    window = near_edge(halves.mask, _FSC_EDGE)
    one, two = (fft.rfftn(half * window) for half in (halves.half_map_1, halves.half_map_2))
    width = 1 / min(halves.grid.extent)
    square = squared_frequency(halves.grid)
    count = int(_shells(square.max(), width)) + 1
    sums = np.zeros((3, count))
    for first, second, row in zip(one, two, square, strict=True):
        products = ((first * second.conj()).real, np.abs(first) ** 2, np.abs(second) ** 2)
        shell = _shells(row, width).ravel()
        sums += [np.bincount(shell, weights=values.ravel(), minlength=count) for values in products]
    fsc = np.clip(sums[0] / np.maximum(np.sqrt(sums[1] * sums[2]), 1e-30), 0, 1)
    fsc[:2] = 1  # two or three coefficients say nothing, and an error here would wipe out the map
    first_noise = int(np.argmax(fsc < _FSC_NOISE)) if (fsc < _FSC_NOISE).any() else fsc.size
    fsc[first_noise:] = 0
    return np.asarray(np.sqrt(2 * fsc / (1 + fsc)), dtype=np.float32), width


def _shells(square: Array, width: float) -> Array:
    return np.asarray(np.rint(np.sqrt(square) / np.float32(width)), dtype=np.int64)
