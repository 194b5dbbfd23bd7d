"""One side of a data set as a trainer's workers open it: arrays read through a cache of decoded chunks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from emres.archive.chunk_reader import ChunkReader
from emres.archive.manifest import DataSet, Row
from emres.model.chunks import CachedArray, ChunkCache
from emres.model.cut import CutPlan
from emres.model.patch_source import MapFacts, Source
from emres.model.patch_spec import Cells
from emres.run.patch_entries import cells_of, check_row, chunk_array, valid_range
from emres.run.patch_facts import facts_key, size_for, take_facts
from emres.volume.grid import Grid
from emres.volume.resample import Sliceable

Found = TypeVar("Found")

CACHE_BYTES = 2**28

_OPEN = 64  # entries that a worker keeps open, without their voxels
_CELLS = 16  # entries of which it remembers where they have a target


@dataclass(frozen=True)
class DataSetOpener:
    """What a worker needs to open one side of a data set: paths and numbers.

    Parameters
    ----------
    dataset : DataSet
    rows : tuple of Row
    cache_bytes : int
        For decoded chunks, in each worker.
    facts : dict
        Key of a map (see :func:`facts_key`) -> its numbers, as far as they are known.
    cut : CutPlan
        The voxels of the patches, which the numbers are of.
    """

    dataset: DataSet
    rows: tuple[Row, ...]
    cache_bytes: int = CACHE_BYTES
    facts: dict[str, MapFacts] = field(default_factory=dict, compare=False)
    cut: CutPlan = field(default_factory=CutPlan)

    def open(self) -> OpenedDataSet:
        """Open it; nothing is read yet."""
        return OpenedDataSet(self)


class OpenedDataSet:
    """One side of a data set, open in one worker."""

    def __init__(self, opener: DataSetOpener) -> None:
        self._opener = opener
        self.cache = ChunkCache(opener.cache_bytes)
        self._sources: OrderedDict[int, Source] = OrderedDict()
        self._cells: OrderedDict[int, Cells] = OrderedDict()

    def source(self, row: int) -> Source:
        """Return what patches of a row are cut from.

        Raises
        ------
        StoreError, MapError
            See :func:`check_row`.
        """
        return _remembered(self._sources, row, _OPEN, self._open)

    def cells(self, row: int) -> Cells:
        """Return where a row has a target."""
        return _remembered(self._cells, row, _CELLS, lambda k: cells_of(self._opener.dataset, self._opener.rows[k]))

    def grid(self, row: int) -> Grid:
        """Return the grid of a row; nothing but its attributes is read.

        Raises
        ------
        StoreError, MapError
            See :func:`check_row`.
        """
        chosen = self._opener.rows[row]
        return check_row(self._opener.dataset, chosen).grid(chosen.target)

    def _open(self, number: int) -> Source:
        row, dataset = self._opener.rows[number], self._opener.dataset
        group = check_row(dataset, row)

        def cached(array: Any, kind: str) -> Sliceable:
            return CachedArray(array, self.cache, (number, kind))

        grid = group.grid(row.target)
        return Source(
            row.entry,
            grid,
            {name: cached(chunk_array(group, name), name) for name in row.densities},
            cached(ChunkReader(group.array(row.target)), row.target),
            _Facts(self._opener, row),
            valid_range(group.attributes(row.target), grid),
            row.p05,
            row.lattice,
            row.reported,
            row.p95,
        )


class _Facts(Mapping[str, MapFacts]):
    """The numbers of an entry's densities; those that nobody kept are taken when they are asked for."""

    def __init__(self, opener: DataSetOpener, row: Row) -> None:
        self._opener, self._row = opener, row
        self._found: dict[str, MapFacts] = {}

    def __getitem__(self, density: str) -> MapFacts:
        if density not in self._found:
            size = size_for(self._row, self._opener.cut)
            key = facts_key(self._opener.dataset, self._row, density, size)
            if key not in self._opener.facts:
                self._opener.facts[key], _ = take_facts(self._opener.dataset, self._row, density, size)
            self._found[density] = self._opener.facts[key]
        return self._found[density]

    def __iter__(self) -> Iterator[str]:
        return iter(self._row.densities)

    def __len__(self) -> int:
        return len(self._row.densities)


def _remembered(held: OrderedDict[int, Found], key: int, most: int, make: Callable[[int], Found]) -> Found:
    if key not in held:
        held[key] = make(key)
        if len(held) > most:
            held.popitem(last=False)
    held.move_to_end(key)
    return held[key]
