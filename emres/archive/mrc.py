"""MRC/CCP4 maps <-> volumes: the door for map files.

Reading streams: pieces of a few MB are read and decompressed in a thread ahead of the consumer, checked, converted
and laid into a slab in (z, y, x) order. Nothing is allocated on the word of a header that the file's size contradicts.
What may follow the voxels: fewer than 1024 zero bytes (some programs fill up the last disk block), nothing else.
Writing is in ``mrc_write``, and offered here.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from emres.archive.compress import ByteStream, read_ahead
from emres.archive.mrc_check import CellWarning, byte_order, check_geometry, check_layout
from emres.archive.mrc_header import HEADER_BYTES, MapHeader, header_from_record
from emres.archive.mrc_write import write_mrc
from emres.errors import MapError
from emres.volume.grid import Grid, make_volume

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CellWarning", "MapHeader", "MapReader", "open_map", "read_mrc", "write_mrc"]

Array = np.ndarray[Any, Any]

PIECE_BYTES = 4 << 20
# Decompressed at most so far, and at most one slab, ahead of the consumer.
AHEAD_BYTES = 128 << 20
PADDING_BYTES = 1024


def open_map(path: str | Path, voxel_size: float | Sequence[float] | None = None) -> MapReader:
    """Open an MRC/CCP4 map, plain, gzip or bzip2, and read its header.

    Parameters
    ----------
    path : path
    voxel_size : float or (z, y, x), optional
        Å; replaces what the header says.

    Returns
    -------
    MapReader
        A context manager.

    Raises
    ------
    MapError
        If it is no map of a volume, or its header contradicts its size.
    """
    path = Path(path)
    with closing(ByteStream(path)) as stream:
        header = _read_header(stream, str(path))
        _check_size(header, stream)
    if voxel_size is not None:
        header = header.with_voxel_size(voxel_size)
    check_geometry(header, str(path))
    return MapReader(path, header)


def _read_header(stream: ByteStream, name: str) -> MapHeader:
    raw = bytearray(HEADER_BYTES)
    count = stream.fill(memoryview(raw))
    order = byte_order(bytes(raw), name)
    if count < HEADER_BYTES:
        raise MapError(
            f"{name} is not an MRC/CCP4 map",
            got=f"{count} bytes of content",
            expected=f"a header of {HEADER_BYTES}",
            cure="download or copy it again",
        )
    record = np.frombuffer(raw, HEADER_DTYPE.newbyteorder(order))[0]
    header = header_from_record(record, order)
    check_layout(header, name)
    return header


def _check_size(header: MapHeader, stream: ByteStream) -> None:
    promised = header.data_offset + header.data_bytes
    if stream.capacity is None:
        return
    if promised > stream.capacity:
        limit = "" if stream.kind == "plain" else "at most "
        raise _size_error(stream, promised, f"{limit}{stream.capacity}")
    if stream.kind == "plain" and stream.capacity >= promised + PADDING_BYTES:
        raise _size_error(stream, promised, str(stream.capacity))


def _size_error(stream: ByteStream, promised: int, got: str) -> MapError:
    return MapError(
        f"{stream.path} does not hold what its header says",
        got=f"{got} bytes",
        expected=f"{promised}",
        cure="download or copy it again",
    )


class MapReader:
    """A map file whose header is read and whose voxels stream.

    Parameters
    ----------
    path : Path
    header : MapHeader
    """

    def __init__(self, path: Path, header: MapHeader) -> None:
        self.path = path
        self.header = header
        self.grid: Grid = header.grid
        self.dtype: np.dtype[Any] = header.dtype
        self._reading: list[Generator[Array]] = []

    def __repr__(self) -> str:
        return f"<MapReader {self.path.name} {self.dtype} {self.grid}>"

    def __enter__(self) -> MapReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading."""
        while self._reading:
            self._reading.pop().close()

    def slabs(self, thickness: int = 64) -> Iterator[tuple[int, int, Array]]:
        """Yield the map slab by slab, from the start at each call.

        Parameters
        ----------
        thickness : int
            Voxels along the axis that is slowest in the file; the last slab may be thinner.

        Yields
        ------
        axis : int
            0, 1 or 2 for z, y or x: the slowest in the file.
        start : int
            Index of the slab's first voxel along it, a multiple of ``thickness``.
        values : (z, y, x) float32
            Full along the other axes.

        Raises
        ------
        MapError
            If the file is cut short or corrupt, goes on after its last voxel, or has voxels that are not finite.
        """
        axis = self.header.file_axes[0]
        shape, sections = list(self.grid.shape), self.grid.shape[axis]
        with closing(self._pieces(thickness)) as pieces:
            for start in range(0, sections, thickness):
                shape[axis] = min(thickness, sections - start)
                values = self._allocate(shape)
                self._fill(values, pieces)
                yield axis, start, values

    def read(self) -> Array:
        """Return all voxels, (z, y, x) float32.

        Raises
        ------
        MapError
            As :meth:`slabs`.
        """
        values = self._allocate(self.grid.shape)
        with closing(self._pieces(self.header.shape[2])) as pieces:
            self._fill(values, pieces)
        return values

    def _allocate(self, shape: Sequence[int], dtype: Any = np.float32) -> Array:
        # Memory that is not written is not used: an absurd promise costs nothing until its voxels arrive.
        try:
            return np.empty(shape, dtype=dtype)
        except MemoryError as error:
            raise MapError(
                f"{self.path} does not fit in memory",
                got=f"{tuple(shape)} voxels",
                cure="use a machine with more memory",
            ) from error

    def _fill(self, values: Array, pieces: Iterator[Array]) -> None:
        in_file_order = values.transpose(self.header.file_axes)
        done = 0
        while done < len(in_file_order):
            piece = next(pieces)
            in_file_order[done : done + len(piece)] = piece
            done += len(piece)

    def _pieces(self, thickness: int) -> Generator[Array]:
        """Start reading, see :meth:`_stream`; :meth:`close` ends it if the consumer does not."""
        pieces = self._stream(thickness)
        self._reading.append(pieces)
        return pieces

    def _stream(self, thickness: int) -> Generator[Array]:
        """Yield finite float32 (section, row, column) pieces that never reach over a multiple of ``thickness``."""
        bounds = self._bounds(thickness)
        slab_bytes = thickness * self._section_bytes
        ahead = max(2, min(AHEAD_BYTES, slab_bytes) // max(PIECE_BYTES, self._section_bytes))
        with closing(ByteStream(self.path)) as stream:
            stream.skip(self.header.data_offset)
            read = partial(self._read_piece, stream, bounds)
            with closing(read_ahead(read, len(bounds), ahead)) as stored:
                for (start, _), raw in zip(bounds, stored, strict=True):
                    piece = raw.astype(np.float32, copy=False)
                    if not _all_finite(piece):
                        raise self._not_finite(start, piece, stored)
                    yield piece

    @property
    def _section_bytes(self) -> int:
        return self.header.data_bytes // self.header.shape[2]

    def _bounds(self, thickness: int) -> list[tuple[int, int]]:
        """First and end section of every piece."""
        sections = self.header.shape[2]
        step = max(1, PIECE_BYTES // self._section_bytes)
        slabs = [(start, min(start + thickness, sections)) for start in range(0, sections, thickness)]
        return [(k, min(k + step, end)) for start, end in slabs for k in range(start, end, step)]

    def _read_piece(self, stream: ByteStream, bounds: list[tuple[int, int]], index: int) -> Array:
        start, end = bounds[index]
        nx, ny, nz = self.header.shape
        piece = self._allocate((end - start, ny, nx), self.dtype)
        count = stream.fill(piece.view(np.uint8).data.cast("B"))
        if count < piece.nbytes:
            promised = self.header.data_offset + self.header.data_bytes
            found = self.header.data_offset + start * self._section_bytes + count
            raise _size_error(stream, promised, str(found))
        if end == nz:
            self._check_end(stream)
        return piece

    def _check_end(self, stream: ByteStream) -> None:
        # Reading on to the end also makes gzip compare its checksum.
        rest = bytearray(PADDING_BYTES)
        count = stream.fill(memoryview(rest))
        if count == PADDING_BYTES or any(rest):
            raise MapError(
                f"{self.path} goes on after its last voxel",
                got=f"{count} bytes or more, not padding",
                expected=f"fewer than {PADDING_BYTES} zero bytes",
                cure="download or export it again",
            )

    def _not_finite(self, start: int, piece: Array, rest: Iterator[Array]) -> MapError:
        where = np.argwhere(~np.isfinite(piece))
        count = len(where) + sum(int(np.count_nonzero(~np.isfinite(raw))) for raw in rest)
        index = [0, 0, 0]
        for axis, position in zip(self.header.file_axes, where[0] + (start, 0, 0), strict=True):
            index[axis] = int(position)
        return MapError(
            f"{self.path} has voxels that are not finite",
            got=f"{count} NaN or Inf, the first at {tuple(index)} (z, y, x)",
            expected="numbers",
            cure="set them to 0 if you know what they are",
        )


def _all_finite(values: Array) -> bool:
    # A sum is finite unless a voxel is not, or it overflows: one pass over cached memory decides nearly always.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())


def read_mrc(path: str | Path, voxel_size: float | Sequence[float] | None = None) -> xr.DataArray:
    """Read a whole MRC/CCP4 map, plain, gzip or bzip2.

    Parameters
    ----------
    path : path
    voxel_size : float or (z, y, x), optional
        Å; replaces what the header says.

    Returns
    -------
    Volume
        (z, y, x) float32, with the original header in ``attrs["mrc_header"]`` and the file's name in ``source``.

    Raises
    ------
    MapError
        If the file is no map of a volume, is damaged, or has voxels that are not finite.
    """
    with open_map(path, voxel_size) as reader:
        return make_volume(reader.read(), reader.grid, mrc_header=reader.header.to_attrs(), source=reader.path.name)
