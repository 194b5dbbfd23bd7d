"""From a word to a Dask client: a laptop's cores, or any scheduler that is already running."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emres.errors import EmresError, UsageError

if TYPE_CHECKING:
    from distributed import Client

_KINDS = "local, local:WORKERS, tcp://HOST:PORT, tls://HOST:PORT or a scheduler file (.json)"

_SETTINGS = {
    # A task that kills its worker fails after its second death, and an innocent neighbour does not.
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.no-workers-timeout": "300s",
    "distributed.comm.timeouts.connect": "30s",
    "distributed.worker.daemon": True,
}


def connect(spec: str = "local", *, tasks: int | None = None, timeout: float = 30.0) -> Client:
    """Return a client for a cluster; closing it also ends what was started for it.

    Parameters
    ----------
    spec : str
        ``local`` (one worker process for every two cores, at most one a task), ``local:4``, ``tcp://host:8786``,
        ``tls://host:8786`` (certificates from Dask's configuration) or the path of a scheduler file.
    tasks : int, optional
        How many tasks there will be: a local cluster starts no more workers.
    timeout : float
        Seconds to wait for a running scheduler.

    Returns
    -------
    distributed.Client

    Raises
    ------
    UsageError
        If the word is none of these.
    EmresError
        If the scheduler does not answer.

    Examples
    --------
    >>> with connect("local:1") as client:  # doctest: +SKIP
    ...     print(client.dashboard_link)
    """
    import dask

    dask.config.set(_SETTINGS)
    kind, _, rest = spec.partition(":")
    if kind == "local" and (not rest or (rest.isdigit() and int(rest) > 0)):
        return _local(int(rest) if rest else local_workers(tasks))
    if kind in ("tcp", "tls") and rest.startswith("//"):
        return _running({"address": spec}, spec, timeout)
    if spec.endswith(".json") and Path(spec).is_file():
        return _running({"scheduler_file": spec}, spec, timeout)
    raise UsageError("unknown cluster", got=spec, expected=_KINDS)


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


def _local(workers: int) -> Client:
    from distributed import Client

    threads = str(max(1, cores() // workers))
    # The nanny would set one thread for torch; a worker runs one task at a time, so it may use its share of the cores.
    environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    return Client(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=_dashboard(),
        env=environment,
        silence_logs=50,
        preload=["emres.run.worker"],
    )


def _dashboard() -> str:
    """Return the usual port of the dashboard if it is free, else any; on this machine only."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 8787))
        except OSError:
            return "127.0.0.1:0"
    return "127.0.0.1:8787"


def _running(where: dict[str, Any], spec: str, timeout: float) -> Client:
    from distributed import Client

    try:
        return Client(**where, timeout=timeout)
    except (OSError, TimeoutError, ValueError) as error:
        raise EmresError(
            f"no scheduler answers at {spec}",
            got=str(error) or type(error).__name__,
            cure="check the address, and that its Dask version is the same as here",
        ) from error
