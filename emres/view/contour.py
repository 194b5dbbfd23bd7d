"""The density level at which a map is shown."""

from __future__ import annotations

from typing import Any

import numpy as np

from emres.errors import MapError
from emres.volume.grid import Triple
from emres.volume.masking import automatic_mask
from emres.volume.pyramid import block_mean

Array = np.ndarray[Any, Any]

_COARSE = 1.5  # Å: where the molecule is can be told from voxels of this size
_FILLED = 0.5  # share of the box that one exact value must have to be taken for filling
_BINS = 256
_RANGE = (0.1, 99.9)  # percentiles: a few odd voxels would leave all others one bin
_SOLVENT = 0.995  # share of the solvent that lies below the level: from a few percent on its noise hangs together
_MOLECULE = 0.1  # share of the mask that has to lie above what the solvent holds, else it is no solvent
_SAMPLED = 1_000_000  # voxels of the solvent that are looked at


def automatic_level(values: Array, voxel_size: Triple) -> float:
    """Return a contour level for a map whose author recommends none.

    The level that parts the densities inside emres' automatic mask best into two classes (Otsu 1979): the molecule, and
    what the generous mask holds round it. Where the solvent is loud it is raised until its noise falls apart to dust.

    Parameters
    ----------
    values : (z, y, x) density
    voxel_size : (z, y, x) Å

    Returns
    -------
    float
        Of the sampling that was passed: peaks are lower where a map has been averaged.

    Raises
    ------
    MapError
        If the map is constant.
    """
    mask = _mask(values, voxel_size)
    inside = _density(values, mask)
    low, high = (float(value) for value in np.percentile(inside, _RANGE))
    if not high > low:
        low, high = float(inside.min()), float(inside.max())
    if not high > low:
        raise MapError("the map has no surface", got=f"{low:.6g} everywhere", expected="a density that varies")
    counts, edges = np.histogram(inside, bins=_BINS, range=(low, high))
    return max(_otsu(counts, (edges[:-1] + edges[1:]) / 2), _above_solvent(values, mask))


def _above_solvent(values: Array, mask: Array) -> float:
    """Return the level below which nearly all of the solvent lies; -inf where the box holds none, as in a crystal."""
    outside = values[~mask]
    if not outside.size:
        return -np.inf
    level = float(np.quantile(outside[:: max(1, outside.size // _SAMPLED)], _SOLVENT))
    return level if np.mean(values[mask] > level) >= _MOLECULE else -np.inf


def _density(values: Array, mask: Array) -> Array:
    """Return the densities of a mask, without the one value that fills most of the box of a masked map."""
    inside = values[mask]
    middle = np.partition(values.ravel(), values.size // 2)[values.size // 2]
    filled = np.count_nonzero(values == middle) >= _FILLED * values.size
    kept = inside[inside != middle] if filled else inside
    return kept if kept.size else inside


def _mask(values: Array, voxel_size: Triple) -> Array:
    factor = max(1, round(_COARSE / min(voxel_size)))
    z, y, x = (size * factor for size in voxel_size)
    try:
        coarse = automatic_mask(block_mean(values, factor), (z, y, x))
    except MapError:  # nothing positive, and still there may be a surface
        return np.ones(values.shape, dtype=bool)
    for axis in range(3):
        coarse = np.repeat(coarse, factor, axis=axis)
    mask = coarse[tuple(slice(n) for n in values.shape)]
    return mask if mask.any() else np.ones(values.shape, dtype=bool)


def _otsu(counts: Array, centres: Array) -> float:
    below = np.cumsum(counts)[:-1].astype(float)
    above = counts.sum() - below
    sums = np.cumsum(counts * centres)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    best = int(np.nanargmax(between))
    return float((centres[best] + centres[best + 1]) / 2)
