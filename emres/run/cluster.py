"""From a word to a Dask client: a laptop's cores, its GPUs, SLURM, machines behind SSH, or a scheduler that runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emres.errors import EmresError
from emres.run.cluster_local import KEEPING_MEMORY
from emres.run.cluster_local import cores as cores
from emres.run.cluster_local import free_memory as free_memory
from emres.run.cluster_local import local_workers as local_workers
from emres.run.cluster_spec import ClusterSpec, parse_cluster

if TYPE_CHECKING:
    from distributed import Client

_SETTINGS = {
    # A task that kills its worker fails after its second death, and an innocent neighbour does not.
    "distributed.scheduler.allowed-failures": 1,
    "distributed.comm.timeouts.connect": "30s",
    "distributed.worker.daemon": True,
    **KEEPING_MEMORY,
}


def connect(
    spec: str = "local",
    *,
    tasks: int | None = None,
    timeout: float = 30.0,
    told: Callable[[str], None] = lambda link: None,
) -> Client:
    """Return a client for a cluster; closing it also ends what was started for it.

    Parameters
    ----------
    spec : str
        ``local`` (one worker process for every two cores, at most one a task), ``local:4``, ``gpu`` (one worker a
        GPU), ``gpu:0,1``, ``slurm``, ``slurm:partition=gpu,jobs=4``, ``ssh:host1,host2``, ``tcp://host:8786``,
        ``tls://host:8786`` (certificates from Dask's configuration), the path of a scheduler file (.json) or of a
        file of options (.toml, .yaml).
    tasks : int, optional
        How many tasks there will be: a local cluster starts no more workers.
    timeout : float
        Seconds to wait for a running scheduler.
    told : callable
        Called with the dashboard's address as soon as there is one, before the first worker is waited for.

    Returns
    -------
    distributed.Client
        With at least one worker, where the cluster was started for it.

    Raises
    ------
    UsageError
        If the word is none of these, or an option is wrong.
    EmresError
        If the scheduler does not answer, or no worker comes.

    Examples
    --------
    >>> with connect("local:1") as client:  # doctest: +SKIP
    ...     print(client.dashboard_link)
    """
    import dask

    parsed = parse_cluster(spec)
    # A task that no worker fits fails after this, with Dask's own sentence, instead of waiting for ever.
    dask.config.set({**_SETTINGS, "distributed.scheduler.no-workers-timeout": f"{parsed.queue_timeout}s"})
    with warnings.catch_warnings():
        if parsed.dashboard is None:
            # Another may take the usual port in the moment after it was found free; the link says where ours is then.
            warnings.filterwarnings("ignore", "Port .* is already in use")
        client = _started(parsed, tasks, timeout)
    try:
        told(client.dashboard_link)
        if parsed.kind != "running":
            from emres.run.cluster_owned import await_worker

            await_worker(client, parsed)
    except BaseException:
        client.close()
        raise
    return client


def _started(spec: ClusterSpec, tasks: int | None, timeout: float) -> Client:
    if spec.kind == "running":
        return _running(spec, timeout)
    if spec.kind == "gpu":
        from emres.run.cluster_gpu import start_gpu

        return start_gpu(spec)
    if spec.kind == "slurm":
        from emres.run.cluster_slurm import start_slurm

        return start_slurm(spec)
    if spec.kind == "ssh":
        from emres.run.cluster_ssh import start_ssh

        return start_ssh(spec)
    from emres.run.cluster_local import start_local

    return start_local(spec, tasks)


def _running(spec: ClusterSpec, timeout: float) -> Client:
    from distributed import Client

    where: dict[str, Any] = {"address": spec.address}
    if spec.address is not None and "://" not in spec.address:
        where = {"scheduler_file": spec.address}
    try:
        return Client(**where, timeout=timeout)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        raise EmresError(
            f"no scheduler answers at {spec.address}",
            got=str(error) or type(error).__name__,
            cure="check the address, and that its Dask version is the same as here",
        ) from error
