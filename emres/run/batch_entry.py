"""The story of one entry of a batch, from the archive to the export, each stage within its limit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from emres.archive.disk import FULL, disk_errors
from emres.archive.store import EntryGroup
from emres.errors import BusyError, FullDiskError
from emres.run.batch_cache import Cache
from emres.run.batch_claim import claimed
from emres.run.batch_plan import BatchPlan, export_if_new
from emres.run.cluster import cores
from emres.run.cluster_crew import crew_of
from emres.run.cluster_job import fitted, run_job
from emres.run.cluster_tasks import ClusterError
from emres.run.fetch import MOST_JOBS, clear_downloads, find_entry
from emres.run.outcome import Outcome, Report, outcome_of

if TYPE_CHECKING:
    from distributed import Client

_LOOK = 1.0  # seconds between two looks while a stage is full


class Conductor:
    """Takes entries through their stages, many at once; what is shared between them is here.

    Parameters
    ----------
    plan : BatchPlan
    client : distributed.Client, optional
    report : callable
        May raise, to end the work.
    """

    def __init__(self, plan: BatchPlan, client: Client | None, report: Report) -> None:
        self._plan, self._client, self._report = plan, client, report
        self._cache = Cache(plan.store, plan.max_cache)
        self._network = Stage(lambda: MOST_JOBS)
        self._big = Stage(self._most_big)
        self._exports = Stage(cores)

    def _most_big(self) -> int:
        """Return how many maps may go by blocks at once: one for whoever prepares them and puts them together."""
        crew = None if self._client is None else crew_of(self._client)
        return max(2, cores() if crew is None or crew.is_all_gpus() else crew.threads())

    def conduct(self, name: str) -> Outcome:
        """Do all that is to be done for an entry.

        Returns
        -------
        Outcome

        Raises
        ------
        BusyError
            If another run is at it.
        ClusterError, FullDiskError
            If no other entry could go on either.
        """
        return outcome_of(name, partial(self._work, name), through=(BusyError, ClusterError, FullDiskError))

    def _work(self, name: str) -> tuple[bool, Mapping[str, Any]]:
        plan, group = self._plan, find_entry(self._plan.store, name)
        if not plan.store.path.is_dir() and plan.fetch is None:
            plan.job(group)  # raises: there is nothing, and nothing is to be made
        try:
            with _full_disk_told(plan), claimed(plan.store, group.name):
                result, worked, facts = self._staged(name, group)
        except (BusyError, ClusterError, FullDiskError):
            raise
        except Exception:
            self._cache.served(group, None)
            raise
        self._cache.served(group, result)
        return worked, facts

    def _staged(self, name: str, group: EntryGroup) -> tuple[str, bool, Mapping[str, Any]]:
        """Go through the stages; return the result's name, whether anything was done, and what is told of it."""
        plan, fetched, result = self._plan, False, self._plan.done_before(group)
        if result is not None:
            facts: Mapping[str, Any] = {**group.attributes(result), "computed": 0}
        else:
            fetched = self._fetched(name, group)
            result, facts = self._predicted(name, group)
        self._report(name, "export", 0, 0)
        with self._slot(self._exports, name, "export"):
            written = export_if_new(group, result, plan.export, bool(facts["computed"]))
        return result, bool(fetched or facts["computed"] or written), {**facts, **written}

    def _fetched(self, name: str, group: EntryGroup) -> bool:
        plan = self._plan
        if plan.fetch is None or not plan.is_to_fetch(group):
            clear_downloads(group)
            return False
        with self._slot(self._network, name, "fetch"):
            self._cache.await_room(lambda: self._report(name, "wait for room", 0, 0))
            self._report(name, "fetch", 0, 0)
            came = None
            try:
                fetched = plan.fetch(name, self._report)
                came = group
            finally:
                self._cache.came(came)
        return fetched

    def _predicted(self, name: str, group: EntryGroup) -> tuple[str, Mapping[str, Any]]:
        stage, device, job = self._plan.stage, self._plan.device, fitted(self._plan.job(group), self._client)

        def tell(done: int, total: int) -> None:  # and learn there if the run is to stop
            self._report(name, stage, done, total)

        tell(0, 0)
        by_blocks = self._client is not None and not job.in_memory and not job.finished()
        with self._slot(self._big, name, stage) if by_blocks else nullcontext():
            return job.result, run_job(job, self._client, stage, device, tell)

    @contextmanager
    def _slot(self, stage: Stage, name: str, what: str) -> Iterator[None]:
        """Wait for a place in a stage."""
        while not stage.enter(_LOOK):
            self._report(name, f"wait for {what}", 0, 0)
        try:
            yield
        finally:
            stage.leave()


class Stage:
    """A stage that takes so many entries at once; how many, may change while it goes on."""

    def __init__(self, most: Callable[[], int]) -> None:
        self._most, self._inside, self._free = most, 0, threading.Condition()

    def enter(self, seconds: float) -> bool:
        """Take a place, and tell whether there was one in so many seconds."""
        with self._free:
            if not self._free.wait_for(lambda: self._inside < self._most(), seconds):
                return False
            self._inside += 1
            return True

    def leave(self) -> None:
        """Give it back."""
        with self._free:
            self._inside -= 1
            self._free.notify()


@contextmanager
def _full_disk_told(plan: BatchPlan) -> Iterator[None]:
    """Tell that a disk is full also where it was met far from those who write."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        with disk_errors(error.filename or plan.store.path):
            raise
