"""The sequence of C's ``rand()`` (GNU C library), many numbers at a time.

RELION randomises phases with it, once, from a fixed seed: its one draw of noise is part of its answer. The
generator is a linear recurrence modulo 2**32, s[i] = s[i-31] + s[i-3], so a power of its 31 x 31 step matrix jumps
ahead, and the sequence is made in parallel lanes, as many at a time as stay in a processor's cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch

RAND_MAX = 2**31 - 1
_ORDER, _SHORT = 31, 3
_DISCARDED = 310
# Stretches of the sequence, a power of two, and how many of them are made at once.
_LANES, _AT_A_TIME = 2048, 512

Words = np.ndarray[Any, np.dtype[np.uint32]]
Numbers = np.ndarray[Any, np.dtype[np.int32]]


def c_rand(count: int, seed: int = 0, skip: int = 0) -> Iterator[Numbers]:
    """Yield what ``srand(seed)`` and ``count`` calls of ``rand()`` give, part after part.

    Parameters
    ----------
    count : int
    seed : int
        0 and 1 are the same sequence.
    skip : int
        Calls that went before.

    Yields
    ------
    (some,) int32
        0 to RAND_MAX.

    Examples
    --------
    >>> [part.tolist() for part in c_rand(3, seed=1)]
    [[1804289383, 846930886, 1681692777]]
    >>> [part.tolist() for part in c_rand(1, seed=1, skip=2)]
    [[1681692777]]
    """
    stretch = max(1, -(-count // _LANES))
    starts = _lane_starts(seed, skip, stretch)
    for first in range(0, -(-count // stretch), _AT_A_TIME):
        recent = deque(starts[:, first : first + _AT_A_TIME], maxlen=_ORDER)
        drawn = np.empty((stretch, len(recent[0])), dtype=np.uint32)
        for row in drawn:
            np.add(recent[0], recent[_ORDER - _SHORT], out=row)
            recent.append(row)
        drawn >>= np.uint32(1)
        # torch turns a matrix over six times as fast as numpy.
        yield torch.from_numpy(drawn.view(np.int32)).T.flatten()[: count - first * stretch].numpy()


@lru_cache(maxsize=4)
def _lane_starts(seed: int, skip: int, stretch: int) -> Words:
    """Return the states that stretches of the sequence begin with: (31, lanes), 254 kB that maps of one shape share."""
    step = _step_matrix()
    states = _power(step, _DISCARDED + skip) @ _seeded(seed)[:, None]
    jump = _power(step, stretch)
    while states.shape[1] < _LANES:
        states, jump = np.concatenate([states, jump @ states], axis=1), jump @ jump
    return states


def _seeded(seed: int) -> Words:
    values = [seed or 1]
    for _ in range(_ORDER - 1):
        values.append(16807 * values[-1] % RAND_MAX)
    return np.array(values[_SHORT:] + values[:_SHORT], dtype=np.uint32)


def _step_matrix() -> Words:
    step = np.eye(_ORDER, k=1, dtype=np.uint32)
    step[-1, [0, _ORDER - _SHORT]] = 1
    return step


def _power(matrix: Words, exponent: int) -> Words:
    result = np.eye(_ORDER, dtype=np.uint32)
    while exponent:
        if exponent & 1:
            result = result @ matrix
        matrix = matrix @ matrix
        exponent >>= 1
    return result
