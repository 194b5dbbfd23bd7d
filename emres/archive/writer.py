"""Slabs -> a pyramid of Zarr arrays: streamed, whole chunks at a time, and moved into place when it is whole."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from emres.archive.attributes import ANSWERS, check_kind, grid_attributes, ome_attributes, variable_of
from emres.archive.chunk_writer import GROUP_FILE, ChunkWriter, Compressor, new_group, write_coordinate, write_group
from emres.archive.disk import disk_errors, move_into_place, only_writer
from emres.archive.store import CHUNK, EntryGroup
from emres.errors import MapError
from emres.volume.boxes import bounding_box
from emres.volume.density import RunningStatistics, Statistics
from emres.volume.grid import DIMS, Grid, Shape
from emres.volume.pyramid import block_mean, pyramid_grids
from emres.volume.resolved import mean_of_determined

Array = np.ndarray[Any, Any]

# Measured: on noise-like maps lz4 writes twice as fast as zstd at the same ratio; resolution maps are worth zstd
# (6.1 times smaller, lz4 4.0), whose level 1 is as small as level 3 and twice as fast.
_COMPRESSORS = {"density": Compressor("lz4", 5), **{answer: Compressor("zstd", 1) for answer in ANSWERS}}


def create_array(
    path: Path, shape: Shape, dtype: str = "float32", *, chunk: int | Shape = CHUNK, variable: str = "density"
) -> Any:
    """Create an empty Zarr v3 array of zeros.

    Parameters
    ----------
    path : Path
    shape : (z, y, x)
    dtype : str
    chunk : int or (z, y, x)
    variable : str
        Which of the compressors: ``density``, ``local_resolution`` or ``uncertainty``.

    Returns
    -------
    zarr.Array
    """
    chunks = (chunk, chunk, chunk) if isinstance(chunk, int) else chunk
    how = _COMPRESSORS[variable]
    with disk_errors(path):
        return zarr.create_array(
            path,
            shape=shape,
            chunks=chunks,
            dtype=dtype,
            compressors=BloscCodec(cname=how.name, clevel=how.level, shuffle="bitshuffle"),
            fill_value=0,
            dimension_names=DIMS,
            zarr_format=3,
            overwrite=True,
        )


class VolumeWriter:
    """Write one kind of an entry group, slab by slab, with its pyramid.

    Slabs lie along one axis, in order, and are whole along the others; they are gathered to the thickness of a Zarr
    chunk (64 voxels), so that every chunk is written once. Nothing appears in the entry group before :meth:`commit`,
    and no other run can write the same kind meanwhile.

    Parameters
    ----------
    group : EntryGroup
    kind : str
        ``map``, ``half_map_1``, …, ``local_resolution/<name>``.
    grid : Grid

    Raises
    ------
    UsageError
        If the kind is none.
    StoreError
        On entering: if there is no such entry, a newer emres wrote it, another run is writing this kind, or the disk
        refuses.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from emres.archive.store import Store
    >>> with TemporaryDirectory() as folder:
    ...     group = Store(Path(folder)).create("mine", {})
    ...     with VolumeWriter(group, "map", Grid((96, 8, 8), (1.0, 1.0, 1.0))) as writer:
    ...         for thickness in (64, 32):
    ...             writer.add(0, np.ones((thickness, 8, 8), dtype=np.float32))
    ...         writer.commit({"source": "made by hand"})
    ...     group.kinds()
    ['map']
    """

    def __init__(self, group: EntryGroup, kind: str, grid: Grid) -> None:
        self._group, self._kind = group, check_kind(kind)
        self._is_answer = variable_of(kind) in ANSWERS
        self._folder = group.work / kind.replace("/", "+")
        self._statistics = RunningStatistics()
        self._grids = pyramid_grids(grid)
        self._levels: list[_Level] = []

    def __enter__(self) -> Self:
        self._group.attributes()  # raises where a newer emres wrote
        with ExitStack() as cleanup, disk_errors(self._folder):
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            cleanup.callback(self._group.tidy)
            cleanup.enter_context(only_writer(self._folder))
            cleanup.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._create()
            self._cleanup = cleanup.pop_all()
        return self

    def _create(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)  # what a killed run has left
        variable = variable_of(self._kind)
        self._levels = [
            _Level(self._folder / f"scale{number}", grid, variable) for number, grid in enumerate(self._grids)
        ]
        for finer, coarser in itertools.pairwise(self._levels):
            finer.next = coarser

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def add(self, axis: int, slab: Array) -> None:
        """Append a slab along an axis (0 z, 1 y, 2 x), the same axis every time."""
        if not self._is_answer:
            self._statistics.add(slab)
        with disk_errors(self._folder):
            self._levels[0].add(axis, slab)

    @property
    def statistics(self) -> Statistics:
        """Statistics of everything added so far."""
        return self._statistics.result()

    def commit(self, attributes: Mapping[str, Any]) -> None:
        """Write the attributes and move the kind into its entry group.

        Parameters
        ----------
        attributes : mapping
            JSON values, kept under ``attributes.emres``.

        Raises
        ------
        MapError
            If slabs are missing.
        """
        own = {"kind": self._kind, "levels": [grid_attributes(grid) for grid in self._grids], **attributes}
        if not self._is_answer:
            own["statistics"] = asdict(self.statistics)
        with disk_errors(self._folder):
            for level in self._levels:
                level.flush()
            self._levels[0].check_whole(self._kind)
            new_group(self._folder, {"ome": ome_attributes(self._grids, self._kind), "emres": own})
            answers = self._group.path / variable_of(self._kind)
            if self._is_answer and not (answers / GROUP_FILE).is_file():
                write_group(answers)
            move_into_place(self._folder, self._group.path / self._kind)


class _Level:
    """One level of the pyramid: gathers slabs to whole chunks, writes them, hands their means to the next level."""

    def __init__(self, path: Path, grid: Grid, variable: str) -> None:
        new_group(path)
        self._array = ChunkWriter(path / variable, grid.shape, CHUNK, _COMPRESSORS[variable], DIMS)
        self._reduce = mean_of_determined if variable in ANSWERS else block_mean
        for dim, values in grid.coordinates().items():
            write_coordinate(path / dim, dim, values)
        self.next: _Level | None = None
        self._pending: list[Array] = []
        self._axis, self._start = 0, 0

    def add(self, axis: int, slab: Array) -> None:
        self._axis = axis
        self._pending.append(slab)
        thickness = sum(part.shape[axis] for part in self._pending)
        if thickness >= CHUNK:
            self._write(thickness - thickness % CHUNK)

    def flush(self) -> None:
        if self._pending:
            self._write(sum(part.shape[self._axis] for part in self._pending))

    def check_whole(self, kind: str) -> None:
        if self._start != self._array.shape[self._axis]:
            raise MapError(
                f"the {kind} is not whole",
                got=f"{self._start} sections along {DIMS[self._axis]}",
                expected=f"{self._array.shape[self._axis]}",
            )

    def _write(self, thickness: int) -> None:
        joined = self._pending[0] if len(self._pending) == 1 else np.concatenate(self._pending, axis=self._axis)
        slab, rest = np.split(joined, [thickness], axis=self._axis)
        self._pending = [rest] if rest.size else []
        self._put(slab)
        self._start += slab.shape[self._axis]
        if self.next is not None:
            self.next.add(self._axis, self._reduce(slab))

    def _put(self, slab: Array) -> None:
        """Write the chunks of a slab that hold anything; the others are zeros as they are."""
        filled = bounding_box(slab != 0)
        if filled is None:
            return
        first = [0, 0, 0]
        first[self._axis] = self._start
        part = filled.aligned(CHUNK).clipped(slab.shape)
        self._array.write(part.moved((first[0], first[1], first[2])).start, slab[part.slices])
