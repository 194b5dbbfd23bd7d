"""One job on a cluster: as one task where it fits a worker, else block by block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from emres.run.blockwise import task_name
from emres.run.cluster_crew import crew_of
from emres.run.cluster_tasks import Call, run_calls
from emres.run.jobs import Job, Progress, run_timed
from emres.run.worker import in_turn

if TYPE_CHECKING:
    from distributed import Client

# What is told of a result, of the much that is recorded beside it.
TOLD = (
    "model", "method", "definition", "threshold", "window", "median", "p05", "p95", "voxels",
    "capped_share", "unresolved_share", "reported", "uncertainty", "warnings", "computed", "seconds",
)  # fmt: skip


def fitted(job: Job, client: Client | None) -> Job:
    """Return a job that takes no more memory than a task may take on the smallest worker, if there is a cluster."""
    return job if client is None else job.within(crew_of(client).memory())


def run_job(job: Job, client: Client | None, stage: str, device: str, progress: Progress) -> Mapping[str, Any]:
    """Do a job, here or on a cluster, unless its result is there.

    Parameters
    ----------
    job : Job
        As from :func:`fitted`.
    client : distributed.Client, optional
    stage : str
        What the work is called.
    device : str
        As for :func:`emres.run.cluster_tasks.run_calls`.
    progress : callable
        Also called every second without news; may raise to end the work.

    Returns
    -------
    mapping
        What is told of the result.
    """
    if client is None or job.finished() or not job.in_memory:
        return told(run_timed(job, client, progress))
    name = job.group.name
    call = Call(task_name(f"{stage}-{name}") + f"-{job.fingerprint()[:12]}", in_turn, (_told, run_timed, job), name)
    [facts] = run_calls(client, [call], device=device, tick=lambda: progress(0, 0))
    return dict(facts)


def told(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of a result."""
    return {name: facts[name] for name in TOLD if name in facts}


def _told(function: Callable[[Job], Mapping[str, Any]], job: Job) -> dict[str, Any]:
    """Send home no more than that: the header of a map is most of a result's attributes."""
    return told(function(job))
