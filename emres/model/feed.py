"""From a stream of patches to the batch of every step, from any step on, for one of several processes.

::

    stream     part 0 | part 1 | part 2 | part 3 | part 4 | ...      cut once, whoever wants it
    step       `------------- 0 ----------------´ `----- 1 ...
    process    0        1        0        1        0                of two

A part is a part whoever takes it, so the batch of a step is the same however many processes share it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from emres.model.loader import Batch, PatchStream, patch_batches
from emres.model.ranks import Ranks
from emres.model.train_plan import TrainPlan
from emres.model.validation import on_device


class Share(IterableDataset[Batch]):
    """One process' parts of an epoch, from any part on.

    Parameters
    ----------
    stream : PatchStream
        Of which a batch is a part.
    ranks : Ranks
    """

    def __init__(self, stream: PatchStream, ranks: Ranks) -> None:
        self.stream, self._rank, self._size = stream, ranks.rank, ranks.size
        # Workers that outlive an epoch see a change of it through shared memory alone.
        self._first = torch.tensor(0).share_memory_()  # type: ignore[no-untyped-call]

    def begin(self, epoch: int, first: int) -> None:
        """Go to a part of an epoch; ``first`` is one of process 0."""
        self.stream.set_epoch(epoch)
        self._first.fill_(first)

    def __len__(self) -> int:
        return (len(self.stream) - int(self._first)) // self._size

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        return self.batches() if worker is None else self.batches(worker.id, worker.num_workers)

    def batches(self, worker: int = 0, workers: int = 1) -> Iterator[Batch]:
        """Yield the parts of one worker of this process."""
        return self.stream.batches(int(self._first) + self._rank + self._size * worker, self._size * workers)


@dataclass
class Feed:
    """The batches of a training; called with a step it yields them from that step on.

    Parameters
    ----------
    stream : PatchStream
        Of parts; an epoch of it is ``plan.epoch_steps`` steps.
    plan : TrainPlan
    ranks : Ranks
    threads : int
        That cut ahead; 0 cuts when asked.
    workers : int
        Processes that cut, in place of threads.
    """

    stream: PatchStream
    plan: TrainPlan
    ranks: Ranks
    threads: int = 1
    workers: int = 0

    def __post_init__(self) -> None:
        self.plan.check_shares(self.ranks.size)

    def __call__(self, step: int) -> Iterator[Batch]:
        """Yield this process' share of the batch of every step, on its device."""
        share = Share(self.stream, self.ranks)
        loader = self._loader(share) if self.workers else None
        while step < self.plan.steps:
            epoch, done = divmod(step, self.plan.epoch_steps)
            share.begin(epoch, done * self.plan.parts)
            step += self.plan.epoch_steps - done
            # The loader asks of a stream what a share has, too.
            parts = patch_batches(cast(Any, share), self.threads) if loader is None else iter(loader)
            yield from self._joined(parts)

    def _joined(self, parts: Iterator[Batch]) -> Iterator[Batch]:
        together = self.plan.parts // self.ranks.size
        with closing(cast(Any, parts)) if hasattr(parts, "close") else nullcontext():
            while some := list(itertools.islice(parts, together)):
                yield on_device(joined(some), self.ranks.device)

    def _loader(self, share: Share) -> DataLoader[Batch]:
        # Fresh processes: a fork would copy the locks of torch's threads in whatever state they are.
        return DataLoader(
            share,
            batch_size=None,
            num_workers=self.workers,
            persistent_workers=True,
            multiprocessing_context="spawn",
            pin_memory=self.ranks.device.type == "cuda",
        )


def joined(parts: list[Batch]) -> Batch:
    """Return several batches as one."""
    return parts[0] if len(parts) == 1 else Batch(*(torch.cat(values) for values in zip(*parts, strict=True)))
