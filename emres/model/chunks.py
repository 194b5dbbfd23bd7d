"""Decoded chunks of stored arrays, as many as a number of bytes holds."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any, Protocol

import numpy as np

from emres.volume.blocks import Box

Array = np.ndarray[Any, Any]


class Chunked(Protocol):
    """An array that is stored in chunks: a Zarr array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along z, y, x."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """Voxels of a chunk."""

    def __getitem__(self, where: Any) -> Any:
        """Return the part as a numpy array."""


class ChunkCache:
    """The chunks that were used last. Not to be shared between threads.

    Parameters
    ----------
    limit_bytes : int
        What the chunks held may take; the one just read is held in any case.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held: OrderedDict[Any, Array | None] = OrderedDict()
        self.bytes = self.reads = 0

    def get(self, array: Chunked, key: Any, box: Box) -> Array | None:
        """Return a chunk, or None where all of it is 0."""
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        self.reads += 1
        values: Array | None = np.asarray(array[box.slices])
        # Most of a masked map, or of a target, is nothing: it takes no memory and no copying.
        if values is not None and not values.any():
            values = None
        self._held[key] = values
        self.bytes += 0 if values is None else values.nbytes
        while self.bytes > self._limit and len(self._held) > 1:
            old = self._held.popitem(last=False)[1]
            self.bytes -= 0 if old is None else old.nbytes
        return values


class CachedArray:
    """A stored array, read by whole chunks through a cache.

    Parameters
    ----------
    array : Chunked
    cache : ChunkCache
    name : hashable
        What tells it from the other arrays in the cache.
    """

    def __init__(self, array: Chunked, cache: ChunkCache, name: Any) -> None:
        self._array, self._cache, self._name = array, cache, name

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along z, y, x."""
        return self._array.shape

    def __getitem__(self, where: tuple[slice, slice, slice]) -> Array:
        """Return a part (slices with start and stop, step 1) as float32."""
        spans = [range(*part.indices(n)) for part, n in zip(where, self.shape, strict=True)]
        values = np.zeros([len(span) for span in spans], dtype=np.float32)
        sides = self._array.chunks
        touched = (
            range(span.start // side, -(-span.stop // side) if len(span) else span.start // side)
            for span, side in zip(spans, sides, strict=True)
        )
        for index in itertools.product(*touched):
            self._copy(index, spans, values)
        return values

    def _copy(self, index: tuple[int, ...], spans: list[range], values: Array) -> None:
        start = tuple(k * side for k, side in zip(index, self._array.chunks, strict=True))
        stop = tuple(min(a + side, n) for a, side, n in zip(start, self._array.chunks, self.shape, strict=True))
        chunk = self._cache.get(self._array, (self._name, index), Box(start, stop))  # type: ignore[arg-type]
        if chunk is None:
            return
        first = [max(a, span.start) for a, span in zip(start, spans, strict=True)]
        last = [min(b, span.stop) for b, span in zip(stop, spans, strict=True)]
        here = tuple(slice(f - a, b - a) for f, b, a in zip(first, last, start, strict=True))
        there = tuple(slice(f - span.start, b - span.start) for f, b, span in zip(first, last, spans, strict=True))
        values[there] = chunk[here]
