"""The numbers of a data set's maps, taken before a training begins: of several maps at a time, and of none twice.

Of a data set of hundreds of maps that takes longer than the training itself, and where several processes train, each of
them needs all of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from emres.archive.manifest import DataSet, Row, read_dataset
from emres.model.bundle import ARCHITECTURES
from emres.model.cut import CutPlan
from emres.model.patch_source import MapFacts
from emres.model.train import Moment
from emres.model.train_plan import TrainPlan
from emres.run.handled_maps import FILE as HANDLED
from emres.run.handled_maps import can_be_handled, handled_facts, looked_at, missing_handled, wanted
from emres.run.kept_facts import KeptFacts
from emres.run.patch_facts import missing_facts, taken_facts
from emres.run.train_data import training_stream, validation_stream
from emres.run.train_lessons import level_maps, rows_of_maps

if TYPE_CHECKING:
    from distributed import Client

Tell = Callable[[Moment], None]
Found = list[tuple[str, MapFacts]]

_FEW = 8  # entries that one process has read before others have started
_ROOM = 3 * 2**30  # bytes that a process may take: the arrays of a map, and half maps


@dataclass(frozen=True)
class _Entry:
    """An entry with maps whose numbers are not known yet.

    Parameters
    ----------
    dataset : DataSet
        With this entry alone: it is sent to workers.
    cut : CutPlan
    keys : tuple of str
        Of the maps.
    handled : bool
        Whether these are what became of its average, in place of its own.
    """

    dataset: DataSet
    cut: CutPlan
    keys: tuple[str, ...]
    handled: bool

    @property
    def row(self) -> Row:
        """Its row."""
        return self.dataset.rows[0]

    def read(self) -> Found:
        """Take the numbers, and write the curves."""
        take = handled_facts if self.handled else taken_facts
        return list(take(self.dataset, self.row, self.cut, self.keys))


def read_ahead(folder: Path, plan: TrainPlan, tell: Tell, *, processes: int = 1, client: Client | None = None) -> None:
    """Take what is not known yet of the maps of a data set, and keep it beside the manifest.

    Parameters
    ----------
    folder : Path
        The data set. One that cannot be written is left as it is.
    plan : TrainPlan
        Of the training; settled.
    tell : callable
        Told of entries read.
    processes : int
        Of this machine that read, where there is much to read.
    client : distributed.Client, optional
        Whose workers read, in place of these; they see the same files.

    Raises
    ------
    StoreError, MapError
        If an entry is not what the manifest says. What was read until then is kept.
    """
    dataset = read_dataset(folder.absolute())
    if not os.access(dataset.folder, os.W_OK):
        return
    cut = CutPlan(plan.side or 0, plan.voxel_size, plan.octaves, plan.margin or 0, steps=plan.octave_steps)
    rows = [row for split in ("train", "validation") for row in dataset.side(split)]
    with KeptFacts(dataset) as kept:
        found = [(row, missing_facts(dataset, row, cut, kept.facts)) for row in rows]
        _read(_entries(dataset, cut, found, handled=False), "numbers of maps", kept, tell, processes, client)
    if not getattr(ARCHITECTURES.get(plan.kind.architecture), "patterned", False) or not any(wanted(plan).values()):
        return
    sides = (training_stream(dataset, plan), wanted(plan)), (validation_stream(dataset, plan), looked_at(plan))
    with KeptFacts(dataset, HANDLED) as kept:
        found = [
            (row, missing_handled(dataset, row, cut, counts, kept.facts))
            for stream, counts in sides
            if stream is not None
            for row in rows_of_maps(stream, level_maps(stream))
            if can_be_handled(row)
        ]
        _read(_entries(dataset, cut, found, handled=True), "maps handled", kept, tell, processes, client)


def _entries(dataset: DataSet, cut: CutPlan, found: Sequence[tuple[Row, list[str]]], *, handled: bool) -> list[_Entry]:
    return [_Entry(replace(dataset, rows=(row,), made={}), cut, tuple(keys), handled) for row, keys in found if keys]


def _read(entries: list[_Entry], what: str, kept: KeptFacts, tell: Tell, processes: int, client: Client | None) -> None:
    with _readers(entries, processes, client) as results:
        for done, found in enumerate(results, 1):
            for key, facts in found:
                kept.keep(key, facts)
            tell(Moment(done, len(entries), 0.0, 0.0, what=what))


@contextmanager
def _readers(entries: list[_Entry], processes: int, client: Client | None) -> Iterator[Iterator[Found]]:
    """Yield what is found of each entry, read by workers: those of a client, or of this machine; or here."""
    from emres.run.cluster import connect, free_memory

    count = min(processes, len(entries), free_memory() // _ROOM)
    if client is not None:
        yield _on_workers(client, entries)
    elif count > 1 and len(entries) > _FEW:
        with connect(f"local:{count}") as own:
            yield _on_workers(own, entries)
    else:
        yield (entry.read() for entry in entries)


def _on_workers(client: Client, entries: Sequence[_Entry]) -> Iterator[Found]:
    from emres.run.cluster_tasks import Call, run_calls

    calls = (
        Call(f"read_maps-{'handled-' * one.handled}{one.row.store}-{one.row.entry}", one.read, (), one.row.entry)
        for one in entries
    )
    return run_calls(client, calls, device="cpu")
