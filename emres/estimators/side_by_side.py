"""Many small jobs on few cores: one thread each, instead of all threads on one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

import torch

from emres.volume.threads import torch_threads

Job = TypeVar("Job")
Answer = TypeVar("Answer")
# A ``map`` whose jobs may run at the same time.
Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


@contextmanager
def side_by_side(device: torch.device) -> Iterator[Callable[[Callable[[Job], Answer], Iterable[Job]], list[Answer]]]:
    """Give a ``map`` that does as many jobs at a time as torch has threads, each of them on one.

    Threads that share one small tensor operation spend their time waiting for each other, above all where the
    cores are busy with something else; so nothing shares one as long as this is open. On a GPU jobs queue up
    anyway, and run one after the other.

    Examples
    --------
    >>> with side_by_side(torch.device("cpu")) as each:
    ...     each(abs, [-1, 2, -3])
    [1, 2, 3]
    """
    threads = torch.get_num_threads()
    if threads == 1 or device.type != "cpu":
        yield lambda work, jobs: [work(job) for job in jobs]
        return
    pool = _pool(threads)
    with torch_threads(1):
        yield lambda work, jobs: list(pool.map(work, jobs))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return threads that stay: memory of those that end goes back to the system, and has to be asked for again."""
    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))


if hasattr(os, "register_at_fork"):
    # A forked process has the pool, but none of its threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)
