"""Work given to a cluster, and waited for: as much at once as its workers can hold, and every end told in words.

A worker that dies is held against every task that lay on it, also against those that only waited there. So no more
lies there than it needs to be busy, and a task whose workers have died is tried once more while no other suspect is:
what kills its worker fails alone, and who stood beside it does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emres.errors import EmresError
from emres.run.cluster_crew import Crew, crew_of

if TYPE_CHECKING:
    from distributed import Client, Future

_LOOK = 1.0  # seconds between two looks at tasks under way
_PATIENCE = 300.0  # seconds that a task waits for a worker that fits, where nothing was said


class ClusterError(EmresError):
    """The cluster cannot go on: it was lost, or no worker of it can do the work. No entry is to blame."""


@dataclass(frozen=True)
class Call:
    """One task.

    Parameters
    ----------
    key : str
        Its name; the dashboard groups by what stands before the first ``-``.
    function : callable
    arguments : tuple
    about : str
        What it is the work on, for messages.
    """

    key: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    about: str


def run_calls(
    client: Client,
    calls: Iterable[Call],
    *,
    device: str = "auto",
    retries: int = 0,
    tick: Callable[[], None] = lambda: None,
    workers: Sequence[str] = (),
) -> Iterator[Any]:
    """Compute calls on a cluster, yielding what each returns as it ends.

    Parameters
    ----------
    client : distributed.Client
    calls : iterable of Call
        Taken from as workers come free.
    device : str
        Work for ``auto`` or ``cuda`` goes to workers with a GPU alone, where there are any.
    retries : int
        How often a call that fails is tried again.
    tick : callable
        Called every second, and may raise to end it all.
    workers : addresses of workers
        Which of them shall do it, as long as they are there; any if there are none.

    Yields
    ------
    Any
        In the order in which they end.

    Raises
    ------
    ClusterError
        If the cluster is lost, or none of its workers can do the work.
    EmresError
        If a call has killed its workers; else whatever it raised. What is under way then is given up.
    """
    crew = crew_of(client)
    how: dict[str, Any] = {"retries": retries, "resources": crew.resources(device), "pure": False}
    if workers:
        how |= {"workers": list(workers), "allow_other_workers": True}
    flight = _Flight(client, crew, how)
    waiting = iter(calls)
    try:
        while flight.fill(waiting, tick):
            for future in flight.ended(tick):
                yield flight.result(future, tick)
    finally:
        flight.give_up()


def run_step(client: Client, call: Call, tick: Callable[[], None] = lambda: None) -> Any:
    """Do what needs no GPU: on a worker that has none, or in this process where every worker has one.

    Parameters
    ----------
    client, call, tick
        As for :func:`run_calls`.

    Raises
    ------
    EmresError
        As :func:`run_calls`.
    """
    crew = crew_of(client)
    if crew.is_all_gpus():
        return call.function(*call.arguments)
    [found] = run_calls(client, [call], device="cpu", tick=tick, workers=crew.without_gpu())
    return found


class _Flight:
    """The tasks of one run that are on the cluster."""

    def __init__(self, client: Client, crew: Crew, how: Mapping[str, Any]) -> None:
        self._client, self._crew, self._how = client, crew, dict(how)
        self._calls: dict[Future, Call] = {}
        self._next: Call | None = None
        self._lonely_since: float | None = None

    def fill(self, waiting: Iterator[Call], tick: Callable[[], None]) -> bool:
        """Send calls as long as there is room; return whether any is under way."""
        while True:
            # Looked at first: who has nothing more to send does not wait for room.
            self._next = self._next or next(waiting, None)
            if self._next is None or not self._crew.take(0 if self._calls else _LOOK, tick):
                return bool(self._calls)
            call, self._next = self._next, None
            self._send(call)

    def _send(self, call: Call) -> None:
        if self._client.status != "running":
            raise _lost()
        # A key that was used before would be answered from memory, or join a task that is being given up.
        key = f"{call.key}-{time.monotonic_ns():x}"
        self._calls[self._client.submit(call.function, *call.arguments, key=key, **self._how)] = call

    def ended(self, tick: Callable[[], None]) -> list[Future]:
        """Wait until a task ends, and return those that have."""
        from concurrent.futures import CancelledError

        from distributed import wait

        while True:
            tick()
            with suppress(TimeoutError, CancelledError):
                wait(list(self._calls), timeout=_LOOK, return_when="FIRST_COMPLETED")
            if found := [future for future in self._calls if future.done()]:
                self._lonely_since = None
                return found
            self._check_cluster()

    def result(self, future: Future, tick: Callable[[], None]) -> Any:
        """Return what a task has returned."""
        from concurrent.futures import CancelledError

        from distributed import KilledWorker
        from distributed.scheduler import NoValidWorkerError, NoWorkerError

        call = self._calls.pop(future)
        self._crew.leave()
        try:
            return future.result()
        except KilledWorker:
            return self._alone(call, tick)
        except (NoValidWorkerError, NoWorkerError) as error:  # none that fits; none at all
            raise self._no_worker(error.timeout) from error
        except (CancelledError, OSError) as error:
            # Dask cancels everything when its scheduler is gone; an OSError of the work itself is the work's.
            if isinstance(error, OSError) and self._client.status == "running":
                raise
            raise _lost() from error

    def _alone(self, call: Call, tick: Callable[[], None]) -> Any:
        """Try a task whose workers died once more, while no other suspect runs."""
        from distributed import KilledWorker

        while not self._crew.suspects.acquire(timeout=_LOOK):
            tick()
        suspect = _Flight(self._client, self._crew, self._how)
        try:
            suspect.fill(iter([call]), tick)
            [future] = suspect.ended(tick)
            return future.result()
        except KilledWorker as error:
            raise EmresError(
                f"the work on {call.about} kills its workers",
                got=f"{error.last_worker.name} died last",
                cure="give the workers more memory, then run the same command again",
            ) from error
        finally:
            suspect.give_up()
            self._crew.suspects.release()

    def _check_cluster(self) -> None:
        if self._client.status != "running":
            raise _lost()
        if self._crew.fitting(self._how["resources"]):
            self._lonely_since = None
            return
        self._lonely_since = self._lonely_since or time.monotonic()
        alone = time.monotonic() - self._lonely_since
        if alone > patience():
            raise self._no_worker(alone)

    def _no_worker(self, seconds: float) -> ClusterError:
        wanted = " with a GPU" if self._how["resources"] else ""
        return ClusterError(
            "no worker of the cluster fits the work",
            got=f"{self._crew.count()} workers, none{wanted} in {seconds:.0f} s",
            expected=f"one{wanted}",
            cure="see what is there with emres cluster check SPEC; then the same command goes on"
            + (", or pass --device cpu" if wanted else ""),
        )

    def give_up(self) -> None:
        """Cancel what is still under way."""
        futures = list(self._calls)
        self._calls.clear()
        for _ in futures:
            self._crew.leave()
        if futures and self._client.status == "running":
            with suppress(OSError):
                self._client.cancel(futures)


def patience() -> float:
    """Return the seconds that work waits for workers that fit, as the cluster's options say."""
    import dask
    from dask.utils import parse_timedelta

    return float(parse_timedelta(dask.config.get("distributed.scheduler.no-workers-timeout", None) or _PATIENCE))


def _lost() -> ClusterError:
    return ClusterError("the cluster was lost", cure="run the same command again: it goes on from here")
