"""Where a local-resolution map holds an answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from emres.volume.boxes import bounding_box
from emres.volume.grid import as_shape
from emres.volume.pyramid import block_mean

Array = np.ndarray[Any, Any]

NOT_DETERMINED = 100.0  # Å: what ResMap writes where it finds no signal; every method writes 0 outside its mask


def determined(resolution: Array) -> Array:
    """Tell where a local resolution holds an answer: not 0, not NaN, not ResMap's 100.

    Examples
    --------
    >>> determined(np.array([0.0, 3.5, np.nan, 100.0])).tolist()
    [False, True, False, False]
    """
    return np.asarray(np.isfinite(resolution) & (resolution > 0) & (resolution != NOT_DETERMINED))


def mean_of_determined(resolution: Array) -> Array:
    """Average 2^3 voxels of a local resolution, of those that are determined.

    Parameters
    ----------
    resolution : (z, y, x) float32
        Å; 0 outside the mask, NaN or 100 where not determined.

    Returns
    -------
    (ceil(z / 2), ...) float32
        0 where all of them lie outside, 100 where none is determined and some lie inside.
    """
    mean = np.zeros([-(-n // 2) for n in resolution.shape], dtype=np.float32)
    found = bounding_box(resolution != 0)
    if found is not None:  # most of a box holds no molecule
        box = found.aligned(2)
        mean[tuple(slice(a // 2, b // 2) for a, b in zip(box.start, box.stop, strict=True))] = _mean(
            resolution[box.clipped(as_shape(resolution.shape)).slices]
        )
    return mean


def _mean(resolution: Array) -> Array:
    known = determined(resolution)
    share = block_mean(known.astype(np.float32))
    mean = block_mean(np.where(known, resolution, np.float32(0))) / np.where(share == 0, np.float32(1), share)
    lost = (resolution != 0) & ~known
    if lost.any():
        mean[(share == 0) & (block_mean(lost.astype(np.float32)) > 0)] = NOT_DETERMINED
    return mean
