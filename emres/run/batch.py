"""Many entries: fetch what is missing, predict or estimate, export. One that fails never stops the others.

Each entry is conducted by one thread that mostly waits: for the archive, then for a worker, then for the disk. So the
stages of different entries overlap, each within a limit of its own, and the story of one entry reads from top to
bottom (``batch_entry``).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from emres.errors import BusyError, EmresError
from emres.run.batch_claim import leaving_no_folder
from emres.run.batch_entry import Conductor
from emres.run.batch_plan import BatchPlan as BatchPlan
from emres.run.batch_plan import fetch_by as fetch_by
from emres.run.batch_plan import needs_half_maps as needs_half_maps
from emres.run.batch_plan import planned as planned
from emres.run.batch_record import RunRecord, recorded
from emres.run.failures import FailureLog
from emres.run.fetch import MOST_JOBS
from emres.run.outcome import Outcome, Report, no_report, stoppable

if TYPE_CHECKING:
    from distributed import Client

_AGAIN = 1.0  # seconds until an entry that another run is at is looked at again
_MOST = 512  # entries under way at once


def run_batch(
    names: Sequence[str], plan: BatchPlan, client: Client | None = None, report: Report = no_report
) -> Iterator[Outcome]:
    """Predict many entries, yielding what happened to each as it ends.

    Several runs at one store share the work: an entry that another one is at waits until the last, and is skipped if
    it is done then.

    Parameters
    ----------
    names : sequence of str
        Accessions, or names of entries of the store.
    plan : BatchPlan
    client : distributed.Client, optional
        Where to compute; in this process without one.
    report : callable
        Told of every stage of every entry.

    Yields
    ------
    Outcome
        In the order in which entries end. Closing the generator stops after the stages under way.

    Raises
    ------
    EmresError
        If no entry can go on any more: the cluster was lost, no worker fits, the disk is full. What is done stays.
    """
    entries = list(dict.fromkeys(names))
    log = FailureLog(plan.store, plan.model)
    record = RunRecord(plan.model, len(entries), client.dashboard_link if client else None)
    watched = record.watching(report)
    backlog = _Backlog(entries)
    with leaving_no_folder(plan.store), recorded(plan.store, record):
        ended = _here(backlog, plan, watched) if client is None else _on_cluster(backlog, plan, client, watched)
        for outcome in ended:
            log.note(outcome)
            watched(outcome.name, outcome.status, 1, 1)
            yield outcome


class _Backlog:
    """Entries to come: first those that were not looked at yet, then those that another run was at."""

    def __init__(self, names: Sequence[str]) -> None:
        # Handed out as conductors come free: of 60,000 entries no more wait in memory than their names.
        self._fresh = iter(names)
        self._later: deque[tuple[float, str]] = deque()

    def take(self) -> str | None:
        """Return the next entry; None where there is none just now."""
        name = next(self._fresh, None)
        if name is None and self._later and self._later[0][0] <= time.monotonic():
            name = self._later.popleft()[1]
        return name

    def postpone(self, name: str, busy: BusyError, report: Report) -> None:
        """Keep an entry that another run is at for later, and tell so."""
        report(name, f"waits for {busy.got or 'another run'}", 0, 0)
        self._later.append((time.monotonic() + _AGAIN, name))

    def __bool__(self) -> bool:
        return bool(self._later)


def _here(backlog: _Backlog, plan: BatchPlan, report: Report) -> Iterator[Outcome]:
    conductor = Conductor(plan, None, report)
    while (name := backlog.take()) is not None or backlog:
        if name is None:
            time.sleep(_AGAIN / 4)
            continue
        try:
            yield conductor.conduct(name)
        except BusyError as busy:
            backlog.postpone(name, busy, report)


def _on_cluster(backlog: _Backlog, plan: BatchPlan, client: Client, report: Report) -> Iterator[Outcome]:
    from emres.run.cluster_crew import crew_of

    crew, stop = crew_of(client), threading.Event()
    conductor = Conductor(plan, client, stoppable(report, stop))
    with ThreadPoolExecutor(_MOST, thread_name_prefix="conductor") as pool:
        under_way: dict[Future[Outcome], str] = {}
        try:
            while True:
                # One map a thread of a worker, one that waits for it, and those that are on their way.
                most = min(_MOST, 2 * crew.threads() + MOST_JOBS + 2)
                while len(under_way) < most and (name := backlog.take()) is not None:
                    under_way[pool.submit(conductor.conduct, name)] = name
                if not under_way and not backlog:
                    return
                ended, _ = wait(under_way, timeout=_AGAIN, return_when=FIRST_COMPLETED)
                if not ended and not under_way:
                    time.sleep(_AGAIN / 4)
                yield from _outcomes({future: under_way.pop(future) for future in ended}, backlog, report)
        finally:
            stop.set()


def _outcomes(ended: dict[Future[Outcome], str], backlog: _Backlog, report: Report) -> Iterator[Outcome]:
    """Yield what came of entries; raise what none of them is to blame for after the last of these."""
    halt: EmresError | None = None
    for future, name in ended.items():
        try:
            yield future.result()
        except BusyError as busy:
            backlog.postpone(name, busy, report)
        except EmresError as error:
            halt = error
    if halt is not None:
        raise halt
