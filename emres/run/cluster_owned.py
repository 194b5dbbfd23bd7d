"""A cluster that was started for a client: it ends with the client, and what it loses is started again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distributed import Client

from emres.errors import EmresError
from emres.run.cluster_spec import ClusterSpec
from emres.run.cluster_tasks import patience

_KEEPING_SECONDS = 5.0


@dataclass(frozen=True)
class Trouble:
    """Why no worker has come.

    Parameters
    ----------
    reason : str
    final : bool
        Whether none can come any more.
    """

    reason: str
    final: bool = True


class OwningClient(Client):  # type: ignore[misc]
    """A client that closes its cluster with itself, as ``distributed.Client`` does for a local one.

    Parameters
    ----------
    cluster : distributed.SpecCluster
    trouble : callable
        Says why no worker has come, if it knows.
    ending : callable
        Called when the cluster is closed.
    """

    def __init__(self, cluster: Any, trouble: Callable[[], Trouble | None], ending: Callable[[], None]) -> None:
        self.trouble, self._ending = trouble, ending
        super().__init__(cluster, timeout=30)

    @property
    def dashboard_link(self) -> str:
        """The dashboard's address, by Dask's template; on this machine where it listens on this machine only."""
        from distributed.utils import format_dashboard_link

        listens = str(self.cluster.scheduler_spec["options"]["dashboard_address"]).rpartition(":")[0]
        port = self.cluster.scheduler_info.get("services", {}).get("dashboard")
        if listens in ("", "0.0.0.0") or port is None:
            return str(super().dashboard_link)
        return str(format_dashboard_link(listens, port))

    def close(self, *args: Any, **options: Any) -> Any:
        """Close the client, then what was started for it: workers, jobs, scheduler."""
        try:
            return super().close(*args, **options)
        finally:
            # An asynchronous call comes from inside a loop, and only ends the client.
            if not self.asynchronous:
                self.cluster.close()
                self._ending()


def owning(
    start: Callable[[], Any],
    trouble: Callable[[Any], Trouble | None] = lambda cluster: None,
    ending: Callable[[], None] = lambda: None,
) -> Client:
    """Start a cluster and return a client that owns it; whatever happens in between, nothing stays behind.

    Parameters
    ----------
    start : callable
        Makes the cluster.
    trouble : callable
        Given the cluster, says why no worker has come, if it knows.
    ending : callable
        Called when the cluster is closed, or did not start.

    Raises
    ------
    EmresError
        If it does not start.
    """
    try:
        cluster = start()
    except (RuntimeError, OSError, ValueError) as error:
        ending()
        raise EmresError("the cluster does not start", got=_reason(error)) from error
    except BaseException:
        ending()
        raise
    try:
        return OwningClient(cluster, lambda: trouble(cluster), ending)
    except BaseException:
        cluster.close()
        ending()
        raise


def _reason(error: BaseException) -> str:
    """Return the last line of what went wrong; Dask wraps it in words of its own."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def await_worker(client: Client, spec: ClusterSpec) -> None:
    """Wait until the first worker is there.

    Raises
    ------
    EmresError
        If none comes in time, or none can come any more.
    """
    ask = getattr(client, "trouble", lambda: None)
    deadline = time.monotonic() + spec.queue_timeout
    while not client.scheduler_info(n_workers=1)["workers"]:
        trouble, late = ask(), time.monotonic() > deadline
        if late or (trouble is not None and trouble.final):
            raise EmresError(
                f"no worker comes to the cluster {spec.said}",
                got="; ".join([f"none in {spec.queue_timeout:g} s"] * late + ([trouble.reason] if trouble else [])),
                cure="wait longer (queue_timeout), or ask for less" if late else None,
            )
        time.sleep(0.5)


def await_all(client: Client, seconds: float) -> None:
    """Wait for every worker that was asked for, but not for ever: a job may be queued."""
    wanted = sum(len(each.get("group", [""])) for each in getattr(client.cluster, "worker_spec", {}).values())
    deadline = time.monotonic() + seconds
    while len(client.scheduler_info(n_workers=-1)["workers"]) < wanted and time.monotonic() < deadline:
        time.sleep(0.2)


def all_workers(client: Client) -> list[str]:
    """Return the addresses of the workers, once all are there that were asked for: a queue starts its jobs in turn."""
    await_all(client, patience())
    return list(client.scheduler_info(n_workers=-1)["workers"])


class Keeper:
    """Starts again what a cluster has lost: a job whose walltime is over, a host that was away.

    Parameters
    ----------
    cluster : distributed.SpecCluster
    count : int
        Entries of its ``worker_spec``: jobs, or processes on hosts.
    """

    def __init__(self, cluster: Any, count: int) -> None:
        from tornado.ioloop import PeriodicCallback

        self.cluster, self.count = cluster, count
        self._came: set[Any] = set()
        self._callback = PeriodicCallback(self._look, _KEEPING_SECONDS * 1000)
        cluster.loop.add_callback(self._callback.start)

    async def _look(self) -> None:
        cluster = self.cluster
        if cluster.status.name != "running":
            self._callback.stop()
            return
        names = {str(state.name) for state in cluster.scheduler.workers.values()}
        processes: dict[Any, Any] = dict(cluster.workers)
        for key, process in processes.items():
            group = cluster.worker_spec.get(key, {}).get("group", [""])
            if names & {f"{key}{suffix}" for suffix in group}:
                self._came.add(process)
            elif process in self._came:
                # All of it was here and is gone: its job or connection has ended.
                del cluster.workers[key]
                self._came.discard(process)
                await process.close()
        # As many as there are: Dask then starts those that are missing.
        cluster.scale(self.count)
