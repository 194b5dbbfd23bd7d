"""In which order patches leave a buffer, and which of them are whose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from emres.model.patch_spec import Visit


def shuffled(count: int, buffer: int, rng: np.random.Generator) -> Any:
    """Return in which order ``count`` things leave a buffer that they enter in turn.

    Parameters
    ----------
    count, buffer : int
    rng : numpy.random.Generator

    Returns
    -------
    (count,) int
        The k-th to leave is at most the ``k + buffer``-th that entered.
    """
    held = list(range(min(buffer, count)))
    order = np.empty(count, dtype=np.int64)
    places = rng.integers(max(len(held), 1), size=count)
    for k, entering in enumerate(range(len(held), count)):
        order[k], held[places[k]] = held[places[k]], entering
    order[count - len(held) :] = rng.permutation(np.array(held, dtype=np.int64))
    return order


def patches_of(batches: range, size: int, patches: int) -> int:
    """Return how many patches some batches of an epoch hold; the last batch may not be whole."""
    return sum(min(size, patches - number * size) for number in batches)


def part_of(visits: list[Visit], start: int, stop: int) -> list[Visit]:
    """Return the visits that hold the patches from ``start`` to ``stop`` of an epoch, cut where they straddle."""
    part, position = [], 0
    for visit in visits:
        low, high = max(start - position, 0), min(stop - position, visit.count)
        if low < high:
            part.append(replace(visit, first=visit.first + low, count=high - low))
        position += visit.count
    return part
