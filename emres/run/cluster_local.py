"""A cluster of this machine alone: how many processes suit it, and a client for them."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client

    from emres.run.cluster_spec import ClusterSpec

# What every worker process loads before its first task.
PRELOAD = "emres.run.worker"
# Dask has the C library give all memory of more than 128 KB back at once, and take it again, page by page. With these
# (bytes) a worker keeps what it will soon use again: three dense FSCs take 2.6 s of processor in place of 7.
KEPT_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**26), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
# The same as Dask's own setting for the workers that it starts on this machine.
KEEPING_MEMORY = {f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in KEPT_MEMORY.items()}


def start_local(spec: ClusterSpec, tasks: int | None) -> Client:
    """Start worker processes on this machine and return a client; closing it ends them.

    Parameters
    ----------
    spec : ClusterSpec
    tasks : int, optional
        How many tasks there will be: no more workers are started.
    """
    from distributed import Client

    workers = spec.workers or local_workers(tasks)
    return Client(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=dashboard_address(spec.dashboard),
        env=thread_environment(spec.threads or max(1, cores() // workers)),
        silence_logs=50,
        preload=[PRELOAD],
        **({"memory_limit": spec.memory} if spec.memory else {}),
    )


def local_workers(tasks: int | None = None) -> int:
    """Return how many worker processes suit this machine: one for every two cores, at most one a task."""
    return max(1, min(cores() // 2, tasks or cores()))


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int:
    """Return how many bytes this process could still take: what is free, within what it is allowed."""
    import psutil
    from distributed.system import MEMORY_LIMIT

    return int(min(psutil.virtual_memory().available, MEMORY_LIMIT))


def thread_environment(threads: int) -> dict[str, str]:
    """Return the environment in which torch takes so many cores.

    The nanny would set one thread. A worker runs one task at a time, so that it may use its whole share.
    """
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))


def dashboard_address(wanted: str | None = None) -> str:
    """Return where the dashboard shall listen: as wanted, else on this machine only, at its usual port or any."""
    if wanted:
        return wanted
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 8787))
        except OSError:
            return "127.0.0.1:0"
    return "127.0.0.1:8787"


def nanny_options(threads: int, environment: dict[str, str], **more: Any) -> dict[str, Any]:
    """Return what a nanny is told of a worker that computes one task at a time."""
    return {
        "nthreads": 1,
        "env": {**thread_environment(threads), **environment},
        "preload": [PRELOAD],
        **{name: value for name, value in more.items() if value is not None},
    }
