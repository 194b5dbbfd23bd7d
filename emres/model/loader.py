"""Batches for a trainer, from a torch ``DataLoader`` or from threads: the same bytes for any number of workers.

::

    epoch --> lane 0: cut, cut, cut ... --> buffer --> batch 0, batch 4, ...
              lane 1: cut, cut, cut ... --> buffer --> batch 1, batch 5, ...          lane l makes the batches
              ...                                                                     l, l + lanes, l + 2 lanes, ...

A lane goes through its part of the epoch in the order that is good for reading, and takes what it emits from a buffer
at random. Worker w of W makes the batches w, w + W, ..., and whoever collects them takes one of each worker in turn: so
batch t is batch t whatever W is. Where W divides the number of lanes (1, 2, 4), no two workers cut from one lane.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from emres.errors import UsageError
from emres.model.cut import CutPlan, Patch, cut
from emres.model.epoch import draw_patches, plan_visits
from emres.model.patch_source import Source
from emres.model.patch_spec import Cells, Entry, EpochPlan, Visit
from emres.model.shuffle import part_of, patches_of, shuffled
from emres.model.told import told_of
from emres.volume.threads import one_blas_thread

LANES = 4
_AHEAD = 2  # batches that a thread may have ready


Array = np.ndarray[Any, Any]


class Batch(NamedTuple):
    """What a trainer gets: four (batch, 1, z, y, x) tensors, and a few numbers of the map that each patch is of.

    Target (0 for none) and voxel size in Å; condition (batch, LENGTH) and pattern: what a conditioned
    net is told of the map.
    """

    density: Tensor
    target: Tensor
    weight: Tensor
    voxel_size: Tensor
    row: Tensor
    condition: Tensor
    pattern: Tensor


class Opened(Protocol):
    """The entries of a data set, open for one worker."""

    def source(self, row: int) -> Source:
        """Return what patches of a row are cut from."""

    def cells(self, row: int) -> Cells:
        """Return where a row has a target."""


class Opener(Protocol):
    """Opens a data set in a worker; it is sent there, so it holds paths and no open arrays."""

    @property
    def rows(self) -> Sequence[Entry]:
        """The rows of one side of the split."""

    def open(self) -> Opened:
        """Open them; nothing is read yet."""


@dataclass(frozen=True)
class StreamPlan:
    """How an epoch becomes batches.

    Parameters
    ----------
    batch : int
        Patches.
    buffer : int
        Patches of a lane that a batch is taken from at random.
    drop_last : bool
        Leave out a last batch that is not whole.
    """

    batch: int = 16
    buffer: int = 96
    drop_last: bool = False

    def __post_init__(self) -> None:
        if min(self.batch, self.buffer) < 1:
            raise UsageError("a batch and its buffer hold at least one patch", got=str(self))


class PatchStream(IterableDataset[Batch]):
    """The batches of an epoch: for ``DataLoader(stream, batch_size=None, num_workers=...)``, or to iterate over.

    Parameters
    ----------
    opener : Opener
    epoch : EpochPlan
    cut : CutPlan
    plan : StreamPlan
    """

    def __init__(self, opener: Opener, epoch: EpochPlan, cut: CutPlan, plan: StreamPlan | None = None) -> None:
        self.opener, self.cut, self.plan = opener, cut, plan or StreamPlan()
        self._drawn = epoch
        # Workers that outlive an epoch see a change of it through shared memory alone.
        self._epoch: Tensor = torch.tensor(epoch.epoch).share_memory_()  # type: ignore[no-untyped-call]

    @property
    def epoch(self) -> EpochPlan:
        """How the present epoch is drawn."""
        return replace(self._drawn, epoch=int(self._epoch))

    def set_epoch(self, epoch: int) -> None:
        """Go to another epoch: other patches, of other entries, in another order."""
        self._epoch.fill_(replace(self._drawn, epoch=epoch).epoch)

    def __len__(self) -> int:
        whole, rest = divmod(self._drawn.patches, self.plan.batch)
        return whole + (1 if rest and not self.plan.drop_last else 0)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        return patch_batches(self, 0) if worker is None else self.batches(worker.id, worker.num_workers)

    def batches(self, worker: int = 0, workers: int = 1) -> Iterator[Batch]:
        """Yield the batches of one worker: ``worker``, ``worker + workers``, ...

        Parameters
        ----------
        worker, workers : int

        Yields
        ------
        Batch
        """
        if get_worker_info() is not None:
            one_blas_thread()  # for good: such a process does nothing else
        opened, epoch = self.opener.open(), self.epoch
        mine = range(worker, len(self), workers)
        visits = plan_visits(self.opener.rows, epoch)
        lanes = [_Lane(self, opened, epoch, visits, lane, mine) for lane in range(LANES)]
        for number in mine:
            yield lanes[number % LANES].batch(number)


class _Cut(NamedTuple):
    patch: Patch
    voxel_size: float
    row: int
    condition: Array


class _Lane:
    """One lane's share of an epoch, and of it the batches that this worker makes."""

    def __init__(
        self, stream: PatchStream, opened: Opened, epoch: EpochPlan, visits: list[Visit], lane: int, mine: range
    ) -> None:
        self._opened, self._epoch, self._stream = opened, epoch, stream
        size, patches = stream.plan.batch, min(len(stream) * stream.plan.batch, epoch.patches)
        lengths = [patches_of(range(k, len(stream), LANES), size, patches) for k in range(LANES)]
        length, start = lengths[lane], sum(lengths[:lane])
        self._visits = part_of(visits, start, start + length)
        self._order = shuffled(length, stream.plan.buffer, np.random.default_rng([epoch.seed, epoch.epoch, lane]))
        self._wanted = {int(self._order[k]) for k in range(length) if (k // size) * LANES + lane in mine}
        self._cutting = self._cut()
        self._held: dict[int, _Cut] = {}
        self._done = 0

    def batch(self, number: int) -> Batch:
        """Return a batch of the epoch that is this lane's and this worker's."""
        size, first = self._stream.plan.batch, number // LANES * self._stream.plan.batch
        chosen = self._order[first : first + size]
        # The buffer is filled as far ahead as any patch of this batch may lie.
        self._fill(min(first + len(chosen) - 1 + self._stream.plan.buffer, len(self._order)))
        return _collated([self._held.pop(int(k)) for k in chosen])

    def _fill(self, until: int) -> None:
        while self._done < until:
            found = next(self._cutting)
            if found is not None:
                self._held[self._done] = found
            self._done += 1

    def _cut(self) -> Iterator[_Cut | None]:
        """Cut this lane's patches in the order of the epoch; None for those that are another worker's."""
        number, stream = 0, self._stream
        for visit in self._visits:
            numbers = range(number, number + visit.count)
            number += visit.count
            if self._wanted.isdisjoint(numbers):
                yield from (None for _ in numbers)
                continue
            specs = draw_patches(visit, stream.opener.rows[visit.row], self._opened.cells, self._epoch)
            source = self._opened.source(visit.row)
            voxel_size = float(np.prod(stream.cut.voxel_sizes(source.grid, source.lattice))) ** (1 / 3)
            for k, spec in zip(numbers, specs, strict=True):
                if k not in self._wanted:
                    yield None
                    continue
                told, levels = told_of(source, spec, stream.cut)
                yield _Cut(cut(source, spec, stream.cut, levels), voxel_size, spec.row, told)


def _collated(items: Sequence[_Cut]) -> Batch:
    cubes = (np.stack(parts)[:, None] for parts in zip(*(item.patch for item in items), strict=True))
    density, target, weight, pattern = map(torch.from_numpy, cubes)
    voxel_size = torch.tensor([item.voxel_size for item in items], dtype=torch.float32)
    condition = torch.from_numpy(np.stack([item.condition for item in items]))
    rows = torch.tensor([item.row for item in items])
    return Batch(density, target, weight, voxel_size, rows, condition, pattern)


def patch_batches(stream: PatchStream, threads: int = 1) -> Iterator[Batch]:
    """Yield the batches of an epoch, cut ahead by threads; the same as from a ``DataLoader``.

    Until it ends or is closed, numpy's products keep to one thread in the whole process.

    Parameters
    ----------
    stream : PatchStream
    threads : int
        0 cuts each batch when it is asked for.

    Yields
    ------
    Batch

    Raises
    ------
    EmresError
        What went wrong in a thread.
    """
    with one_blas_thread():  # those of a patch are small: more threads would spin beside torch's own
        yield from stream.batches() if threads < 1 else _cut_ahead(stream, threads)


def _cut_ahead(stream: PatchStream, threads: int) -> Iterator[Batch]:
    stop = threading.Event()
    ready: list[queue.Queue[Any]] = [queue.Queue(_AHEAD) for _ in range(threads)]
    running = [
        threading.Thread(target=_work, args=(stream, k, threads, ready[k], stop), daemon=True) for k in range(threads)
    ]
    for thread in running:
        thread.start()
    try:
        for number in range(len(stream)):
            found = ready[number % threads].get()
            if isinstance(found, BaseException):
                raise found
            yield found
    finally:
        stop.set()
        for thread in running:
            thread.join()


def _work(stream: PatchStream, worker: int, workers: int, ready: queue.Queue[Any], stop: threading.Event) -> None:
    try:
        for batch in stream.batches(worker, workers):
            _put(batch, ready, stop)
            if stop.is_set():
                return
    except BaseException as error:  # told where it can be caught
        _put(error, ready, stop)


def _put(item: Any, ready: queue.Queue[Any], stop: threading.Event) -> None:
    while not stop.is_set():
        with suppress(queue.Full):
            ready.put(item, timeout=0.05)
            return
