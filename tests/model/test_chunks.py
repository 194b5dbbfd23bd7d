"""A cached array is the array, read by whole chunks, each once while it is held, within its bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emres.model.chunks import CachedArray, ChunkCache

VALUES = np.random.default_rng(0).normal(size=(20, 33, 17)).astype(np.float32)


class Stored:
    """An array in chunks of 8^3 that counts what is read of it."""

    def __init__(self, values: np.ndarray) -> None:
        self._values, self.shape, self.chunks = values, values.shape, (8, 8, 8)
        self.reads: list[tuple] = []

    def __getitem__(self, where: tuple[slice, ...]) -> np.ndarray:
        self.reads.append(tuple((part.start, part.stop) for part in where))
        return self._values[where]


def spans(n: int) -> st.SearchStrategy[slice]:
    return st.tuples(st.integers(0, n), st.integers(0, n)).map(lambda ends: slice(min(ends), max(ends)))


@settings(deadline=None)
@given(spans(20), spans(33), spans(17), st.sampled_from([0, 5000, 10**6]))
def test_a_part_is_the_part_whatever_is_held(z: slice, y: slice, x: slice, limit: int) -> None:
    cached = CachedArray(Stored(VALUES), ChunkCache(limit), "a")
    for _ in range(2):
        np.testing.assert_array_equal(cached[z, y, x], VALUES[z, y, x])


def test_what_is_held_is_not_read_again() -> None:
    stored, cache = Stored(VALUES), ChunkCache(10**6)
    cached = CachedArray(stored, cache, "a")
    for start in range(0, 12):
        cached[start : start + 8, 3:20, 2:9]
    assert len(stored.reads) == len(set(stored.reads)) == cache.reads
    assert all((stop - start) in (8, 4, 1) and start % 8 == 0 for box in stored.reads for start, stop in box)


def test_no_more_is_held_than_allowed_and_nothing_weighs_nothing() -> None:
    cache = ChunkCache(3 * 8**3 * 4)
    cached = CachedArray(Stored(VALUES), cache, "a")
    cached[:, :, :]
    assert cache.bytes <= 3 * 8**3 * 4
    empty = ChunkCache(0)
    stored = Stored(np.zeros_like(VALUES))
    for _ in range(3):
        assert not CachedArray(stored, empty, "b")[0:8, 0:8, 0:8].any()
    assert (empty.bytes, len(stored.reads)) == (0, 1)


def test_two_arrays_do_not_meet_in_one_cache() -> None:
    cache = ChunkCache(10**6)
    one, two = CachedArray(Stored(VALUES), cache, "a"), CachedArray(Stored(-VALUES), cache, "b")
    np.testing.assert_array_equal(one[0:9, 0:9, 0:9], -two[0:9, 0:9, 0:9])
