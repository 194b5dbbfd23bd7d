"""Stored arrays read chunk by chunk, straight from their files.

Zarr hands every chunk to another thread and back, which costs as much again as decoding it, and opening an array costs
a millisecond. A trainer's workers read nothing but chunks, thousands a second; predictions and exports read slabs.
What is written in any other way than emres writes goes through Zarr as ever.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_WANTED = {
    "data_type": "float32",
    "fill_value": 0.0,
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
}
_THREADS = 4  # blosc lets go of the interpreter while it works


class _DamagedError(Exception):
    """A chunk's file is not what it should be, which Zarr may tell about."""


class ChunkReader:
    """A stored array of which chunks, and boxes of several, are read fast.

    Parameters
    ----------
    array : zarr.Array
        (z, y, x).
    """

    def __init__(self, array: Any) -> None:
        self._opened: Callable[[], Any] = lambda: array
        self._folder = _folder_of(array)
        self.shape: tuple[int, ...] = array.shape
        self.chunks: tuple[int, ...] = array.chunks

    @classmethod
    def at(cls, folder: Path, opened: Callable[[], Any]) -> ChunkReader:
        """Return the reader of an array that Zarr opens only where it must.

        Parameters
        ----------
        folder : Path
        opened : callable
            Returns the array as Zarr opens it, or raises what is to be raised.
        """
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            about = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
            if _is_ours(about):
                reader = cls.__new__(cls)
                reader._opened, reader._folder, reader.shape = opened, folder / "c", tuple(about["shape"])
                reader.chunks = tuple(about["chunk_grid"]["configuration"]["chunk_shape"])
                return reader
        return cls(opened())

    def __getitem__(self, where: Any) -> Array:
        """Return a part: a box from the chunks that it touches, anything else through Zarr."""
        box = self._box(where) if self._folder is not None else None
        if box is not None:
            with suppress(_DamagedError):
                return self._read(box)
        return np.asarray(self._opened()[where])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return all of it."""
        return np.asarray(self[...], dtype=dtype)

    def _box(self, where: Any) -> list[tuple[int, int]] | None:
        """Return where a part begins and ends along every axis; None if it is no box."""
        given = () if where is Ellipsis else where if isinstance(where, tuple) else (where,)
        if len(given) > len(self.shape) or not all(isinstance(part, slice) for part in given):
            return None
        parts = itertools.chain(given, itertools.repeat(slice(None)))
        ranges = [part.indices(n) for part, n in zip(parts, self.shape, strict=False)]
        return [(a, b) for a, b, _ in ranges] if all(a < b and step == 1 for a, b, step in ranges) else None

    def _read(self, box: Sequence[tuple[int, int]]) -> Array:
        touched = [range(a // side, -(-b // side)) for (a, b), side in zip(box, self.chunks, strict=True)]
        indices = list(itertools.product(*touched))
        if len(indices) == 1 and (chunk := self._chunk(indices[0])) is not None:
            return chunk[self._common(indices[0], box)[0]]
        values = np.zeros([b - a for a, b in box], dtype=np.float32)

        def put(index: tuple[int, ...]) -> None:
            chunk = self._chunk(index)
            if chunk is not None:
                there, here = self._common(index, box)
                values[here] = chunk[there]

        if len(indices) > 1:
            with ThreadPoolExecutor(min(_THREADS, len(indices)), thread_name_prefix="emres-chunks") as pool:
                list(pool.map(put, indices))
        return values

    def _common(
        self, index: Sequence[int], box: Sequence[tuple[int, int]]
    ) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Return what a chunk and a box have in common: where in the chunk, and where in the box."""
        there, here = [], []
        for k, side, (a, b) in zip(index, self.chunks, box, strict=True):
            start, stop = max(a, k * side), min(b, (k + 1) * side)
            there.append(slice(start - k * side, stop - k * side))
            here.append(slice(start - a, stop - a))
        return tuple(there), tuple(here)

    def _chunk(self, index: tuple[int, ...]) -> Array | None:
        """Return a chunk, whole; None if it holds nothing but zeros, which are not written."""
        from numcodecs.blosc import decompress

        try:
            stored = Path(self._folder or "", *map(str, index)).read_bytes()
            return np.frombuffer(decompress(stored), dtype="<f4").reshape(self.chunks)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError, ValueError) as error:
            raise _DamagedError from error


def _is_ours(about: Mapping[str, Any]) -> bool:
    """Tell whether an array is stored as emres stores it."""
    codecs = [codec if isinstance(codec, Mapping) else {} for codec in about.get("codecs", ())]
    return (
        all(about.get(key) == value for key, value in _WANTED.items())
        and [codec.get("name") for codec in codecs] == ["bytes", "blosc"]
        and codecs[0].get("configuration") == {"endian": "little"}
    )


def _folder_of(array: Any) -> Path | None:
    """Return the folder that holds an array's chunks; None if they are not as emres writes them."""
    root = getattr(array.store, "root", None)
    return Path(root, array.path, "c") if isinstance(root, Path) and _is_ours(array.metadata.to_dict()) else None
