"""The histogram of a local resolution in the shape of the archive's validation JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from emres.errors import MapError
from emres.volume.resolved import determined

Array = np.ndarray[Any, Any]

BINS = 50


def histogram(slabs: Callable[[], Iterable[Array]]) -> dict[str, Any]:
    """Return the histogram of the voxels that are determined, as the archive's validation writes it.

    Parameters
    ----------
    slabs : callable
        Returns the resolution in Å, part by part; called twice, so that a big map is never held whole.

    Returns
    -------
    dict
        ``values`` (51 edges of 50 bins, Å), ``counts`` (50), ``minmax`` (``min``, ``max``), JSON values.

    Raises
    ------
    MapError
        If no voxel is determined.

    Examples
    --------
    >>> found = histogram(lambda: [np.array([0.0, 3.0, 3.0]), np.array([5.0])])
    >>> found["counts"][0], found["counts"][-1], found["minmax"]
    (2, 1, {'min': 3.0, 'max': 5.0})
    """
    low, high = np.inf, -np.inf
    for slab in slabs():
        known = slab[determined(slab)]
        if known.size:
            low, high = min(low, float(known.min())), max(high, float(known.max()))
    if not np.isfinite(low):
        raise MapError("the local resolution holds no resolved voxel", cure="predict again with --mask auto or none")
    counts = np.zeros(BINS, dtype=np.int64)
    edges = np.histogram_bin_edges(np.array([low, high]), BINS)
    for slab in slabs():
        counts += np.histogram(slab[determined(slab)], bins=edges)[0]
    return {"values": edges.tolist(), "counts": counts.tolist(), "minmax": {"min": low, "max": high}}
