"""Groups and arrays of Zarr v3 as the files they are, written without a round trip through Zarr for each of them.

A pyramid is a dozen small files, and Zarr takes a millisecond of processor for each: of a small map that is most of
what its result costs. What is written here is what Zarr would write, which also reads it: see ``emres.archive.store``.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from emres.volume.grid import Shape

Array = np.ndarray[Any, Any]

GROUP_FILE = "zarr.json"
_THREADS = 4  # blosc lets go of the interpreter while it works
_SHUFFLE = 2  # by bits
# Blosc would cut what zstd packs into blocks of 32 KB: eight times as long, it takes half as long and packs no worse.
_BLOCKS = {"lz4": 0, "zstd": 2**18}
# A chunk for every thread: memory that the system gives anew costs as much as what is done with it.
_mine = threading.local()


@dataclass(frozen=True)
class Compressor:
    """How the chunks of an array are packed: blosc with its bits shuffled.

    Parameters
    ----------
    name : {"lz4", "zstd"}
    level : int
    """

    name: Literal["lz4", "zstd"]
    level: int

    def codec(self, typesize: int) -> dict[str, Any]:
        """Return how the array's own file tells of it."""
        how = {"typesize": typesize, "cname": self.name, "clevel": self.level, "shuffle": "bitshuffle", "blocksize": 0}
        return {"name": "blosc", "configuration": how}


def new_group(folder: Path, attributes: Mapping[str, Any] | None = None) -> None:
    """Make a Zarr group of a folder that nobody else sees yet."""
    _write_document(folder, _group_document(attributes))


def write_group(folder: Path, attributes: Mapping[str, Any] | None = None) -> None:
    """Make a folder a Zarr group, or write its attributes anew; two runs may write the same at once."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{GROUP_FILE}.{uuid.uuid4().hex[:8]}.part"
    try:
        part.write_text(json.dumps(_group_document(attributes)), encoding="utf-8")
        os.replace(part, folder / GROUP_FILE)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def read_attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a group.

    Raises
    ------
    OSError, ValueError
        If there is none that can be read.
    """
    found = json.loads((folder / GROUP_FILE).read_text(encoding="utf-8"))
    if not isinstance(found, dict) or (found.get("zarr_format"), found.get("node_type")) != (3, "group"):
        raise ValueError(f"{folder / GROUP_FILE} tells of no group of Zarr v3")
    return dict(found.get("attributes") or {})


def write_coordinate(folder: Path, dim: str, values: Array) -> None:
    """Write the coordinates of a dimension (Å, float64) as one chunk, as they are, without a folder of its own."""
    document = _array_document(values.shape, values.shape, "float64", [], (dim,), {"units": "angstrom"})
    document["chunk_key_encoding"] = _separated_by(".")
    _write_document(folder, document)
    (folder / "c.0").write_bytes(np.ascontiguousarray(values, dtype="<f8").tobytes())


class ChunkWriter:
    """A new array of float32 zeros, (z, y, x), written by whole chunks.

    Parameters
    ----------
    folder : Path
    shape : (z, y, x)
    chunk : int
        Side of a chunk, voxels.
    compressor : Compressor
    dims : sequence of str
        Names of the dimensions.
    """

    def __init__(self, folder: Path, shape: Shape, chunk: int, compressor: Compressor, dims: Sequence[str]) -> None:
        self.shape, self._folder, self._chunk, self._compressor = shape, folder / "c", chunk, compressor
        codecs = [compressor.codec(4)]
        _write_document(folder, _array_document(shape, (chunk,) * 3, "float32", codecs, dims, {}))

    def write(self, start: Shape, values: Array) -> None:
        """Write values whose corner ``start`` is a chunk's, and which end with chunks or with the array.

        Chunks of nothing but zeros are not written: a missing one is read as that.
        """
        first = [n // self._chunk for n in start]
        counts = [range(-(-n // self._chunk)) for n in values.shape]
        indices = list(itertools.product(*counts))

        def put(index: tuple[int, ...]) -> None:
            part = values[tuple(slice(self._chunk * k, self._chunk * (k + 1)) for k in index)]
            if part.any():
                self._put([a + b for a, b in zip(first, index, strict=True)], part)

        if len(indices) == 1:
            put(indices[0])
            return
        with ThreadPoolExecutor(min(_THREADS, len(indices)), thread_name_prefix="emres-chunks") as pool:
            list(pool.map(put, indices))

    def _put(self, index: Sequence[int], part: Array) -> None:
        from numcodecs.blosc import compress

        how, whole = self._compressor, self._padded(part)
        packed = compress(whole, how.name.encode(), how.level, _SHUFFLE, _BLOCKS[how.name])
        path = self._folder.joinpath(*map(str, index))
        os.makedirs(path.parent, exist_ok=True)  # pathlib's own way costs twice as much
        path.write_bytes(packed)

    def _padded(self, part: Array) -> Array:
        """Return a chunk, whole; valid until the same thread asks for the next."""
        sides = (self._chunk,) * 3
        if part.shape == sides:
            return np.ascontiguousarray(part, dtype="<f4")
        whole = getattr(_mine, "chunk", None)
        if whole is None or whole.shape != sides:
            whole = _mine.chunk = np.empty(sides, dtype="<f4")
        whole[...] = 0
        whole[tuple(slice(n) for n in part.shape)] = part
        return whole


def _group_document(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"attributes": dict(attributes or {}), "zarr_format": 3, "node_type": "group"}


def _array_document(
    shape: Sequence[int],
    chunks: Sequence[int],
    dtype: str,
    codecs: Sequence[Mapping[str, Any]],
    dims: Sequence[str],
    attributes: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
        "chunk_key_encoding": _separated_by("/"),
        "fill_value": 0.0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, *codecs],
        "attributes": dict(attributes),
        "dimension_names": list(dims),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _separated_by(separator: str) -> dict[str, Any]:
    return {"name": "default", "configuration": {"separator": separator}}


def _write_document(folder: Path, document: Mapping[str, Any]) -> None:
    os.makedirs(folder, exist_ok=True)
    (folder / GROUP_FILE).write_bytes(json.dumps(document).encode())
