"""Many entries: fetch what is missing, predict or estimate, export. One that fails never stops the others.

Each entry is conducted by one thread that mostly waits: for the archive, then for a worker, then for the disk. So the
stages of different entries overlap, and the story of one entry reads from top to bottom.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emres.archive.registry import DEFAULT_MODEL
from emres.archive.store import EntryGroup, Store
from emres.errors import EmresError
from emres.run.estimate import HALF_MAPS, estimate_job
from emres.run.export import export_mrc, export_name
from emres.run.failures import FailureLog
from emres.run.fetch import FetchPlan, fetch_into_store, find_entry
from emres.run.jobs import Job, run_timed
from emres.run.methods import is_method, make_recipe
from emres.run.outcome import Outcome, Report, no_report, outcome_of, stoppable
from emres.run.predict import predict_job
from emres.run.single import told

if TYPE_CHECKING:
    from distributed import Client

Fetch = Callable[[str, Report], bool]

_PATIENCE = 1.0  # seconds between two looks at a task under way


@dataclass(frozen=True)
class BatchPlan:
    """What is to be done for every entry.

    Parameters
    ----------
    store : Store
    model : str
        A net, by name or folder, or a reference method: ``fsc``, ``fsc-relion@0.5``, ``monores``, ``resmap``, …
    mask, device : str
        As for :func:`emres.run.predict.predict_job`.
    export : Path, optional
        Folder for ``<name>_local_resolution.mrc``.
    blind : bool
        Tell the net nothing but the maps, though entries report a resolution.
    fetch : callable, optional
        Brings the map of an entry into the store and tells whether it had to; without it, entries must be there.
    """

    store: Store
    model: str = DEFAULT_MODEL
    mask: str = "auto"
    device: str = "auto"
    export: Path | None = None
    fetch: Fetch | None = None
    blind: bool = False

    @property
    def stage(self) -> str:
        """What the work is called."""
        return "estimate" if is_method(self.model) else "predict"

    def is_to_fetch(self, group: EntryGroup) -> bool:
        """Tell whether an entry of the archive lacks maps that are needed; maps of one's own are not in the archive."""
        needed = HALF_MAPS if needs_half_maps(self.model) else ("map",)
        ours = group.exists() and not group.name.startswith("EMD-")
        return not ours and not all(group.has(kind) for kind in needed)

    def job(self, group: EntryGroup) -> Job:
        """Return the job for an entry that is there; it raises what :func:`predict_job` raises."""
        if is_method(self.model):
            return estimate_job(group.path, self.model, mask=self.mask, device=self.device)
        return predict_job(group.path, self.model, mask=self.mask, device=self.device, blind=self.blind)


def needs_half_maps(model: str) -> bool:
    """Tell whether a word for a net or a method means one that reads half maps."""
    return is_method(model) and make_recipe(model).halves


def fetch_by(sources: FetchPlan) -> Fetch:
    """Return a way to bring an entry's map into the store, for :class:`BatchPlan`."""
    return lambda name, report: bool(fetch_into_store(name, sources, report))


def run_batch(
    names: Sequence[str], plan: BatchPlan, client: Client | None = None, report: Report = no_report
) -> Iterator[Outcome]:
    """Predict many entries, yielding what happened to each as it ends.

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
    """
    queue, log = iter(dict.fromkeys(names)), FailureLog(plan.store, plan.model)
    if client is None:
        for name in queue:
            outcome = _conduct(name, plan, None, report)
            log.note(outcome)
            report(name, outcome.status, 1, 1)
            yield outcome
        return
    conductors = 4 + len(client.scheduler_info(n_workers=-1)["workers"])
    stop = threading.Event()
    watched = stoppable(report, stop)
    with ThreadPoolExecutor(conductors, thread_name_prefix="conductor") as pool:
        under_way: set[Future[Outcome]] = set()
        try:
            while True:
                # Entries are handed out as conductors come free: 60,000 of them never wait in memory.
                while len(under_way) < conductors and (coming := next(queue, None)) is not None:
                    under_way.add(pool.submit(_conduct, coming, plan, client, watched))
                if not under_way:
                    return
                ended, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for future in ended:
                    outcome = future.result()
                    log.note(outcome)
                    report(outcome.name, outcome.status, 1, 1)
                    yield outcome
        finally:
            stop.set()


def planned(name: str, plan: BatchPlan) -> list[str]:
    """Return what :func:`run_batch` would do for an entry: some of ``fetch``, ``predict``/``estimate``, ``export``."""
    group = find_entry(plan.store, name)
    if plan.is_to_fetch(group):
        return ["fetch", plan.stage] + ["export"] * (plan.export is not None)
    job = plan.job(group)
    todo = [] if job.finished() else [plan.stage]
    stale = plan.export is not None and (todo or not _is_exported(group, job.result, plan.export))
    return todo + ["export"] * bool(stale)


def _conduct(name: str, plan: BatchPlan, client: Client | None, report: Report) -> Outcome:
    def work() -> tuple[bool, Mapping[str, Any]]:
        group = find_entry(plan.store, name)
        fetched = False
        if plan.fetch is not None and plan.is_to_fetch(group):
            report(name, "fetch", 0, 0)
            fetched = plan.fetch(name, report)
        report(name, plan.stage, 0, 0)
        job = plan.job(group)
        facts = _done(name, plan.stage, job, client, report)
        report(name, "export", 0, 0)
        written = export_if_new(group, job.result, plan.export, bool(facts["computed"]))
        return bool(fetched or facts["computed"] or written), {**told(facts), **written}

    return outcome_of(name, work)


def _done(name: str, stage: str, job: Job, client: Client | None, report: Report) -> Mapping[str, Any]:
    if client is not None and job.in_memory and not job.finished():
        return _done_on_worker(name, stage, job, client, report)
    return run_timed(job, client, lambda done, total: report(name, stage, done, total))


def _done_on_worker(name: str, stage: str, job: Job, client: Client, report: Report) -> Mapping[str, Any]:
    """Do a job that fits in memory as one task."""
    from distributed import CancelledError, KilledWorker
    from distributed import TimeoutError as NotYetError

    future = client.submit(run_timed, job, key=f"{stage}-{name}-{job.fingerprint()[:12]}", pure=False)
    try:
        while True:
            try:
                facts: Mapping[str, Any] = future.result(timeout=_PATIENCE)
                return facts
            except NotYetError:
                report(name, stage, 0, 0)  # and learn here if the run is to stop
    except KilledWorker as error:
        raise EmresError(
            f"the work on {name} killed its worker twice",
            got=str(error.last_worker),
            cure="give the workers more memory, then run the same command again",
        ) from error
    except CancelledError as error:
        raise EmresError(
            f"the cluster was lost while working on {name}", cure="run the same command again: it goes on from here"
        ) from error
    finally:
        client.cancel(future)


def export_if_new(group: EntryGroup, kind: str, folder: Path | None, changed: bool) -> dict[str, str]:
    """Export a result unless it was exported before and has not changed since.

    Returns
    -------
    dict
        ``{"output": path}``, or nothing where nothing was to be done.
    """
    if folder is None or (not changed and _is_exported(group, kind, folder)):
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    return {"output": str(export_mrc(group, folder / export_name(group, kind), kind, overwrite=True))}


def _is_exported(group: EntryGroup, kind: str, folder: Path) -> bool:
    target, written = folder / export_name(group, kind), group.path / kind / "zarr.json"
    return target.exists() and target.stat().st_mtime >= written.stat().st_mtime
