"""How to ask a public server: not too often, not too much at once, and patiently."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from importlib import metadata
from typing import TypeVar

from emres.errors import ArchiveError

Result = TypeVar("Result")


class TransientError(ArchiveError):
    """Something that another try may well cure: a stall, a cut, a busy server."""

    #: Seconds that the server asked us to wait.
    retry_after: float | None = None


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often to come back.

    Parameters
    ----------
    connect, read : float
        Seconds until a connection stands; seconds without a byte that count as a stall.
    tries : int
        Failures in a row after which we give up; bytes that arrived in between begin the count anew.
    first_delay, longest_delay : float
        Seconds before the second try (then doubled, with jitter), and the most ever waited, ``Retry-After`` included.
    again : bool
        Whether a file that came and is not what it should be is fetched once more.
    """

    connect: float = 10.0
    read: float = 30.0
    tries: int = 5
    first_delay: float = 0.5
    longest_delay: float = 60.0
    again: bool = True

    def delay(self, failures: int, retry_after: float | None = None) -> float:
        """Return the seconds to wait after so many failures in a row."""
        # Jitter: many workers that were cut at one moment must not come back at one moment.
        backoff = self.first_delay * 2.0 ** (failures - 1) * random.uniform(0.5, 1.0)
        return float(min(self.longest_delay, max(backoff, retry_after or 0.0)))


def persist(
    action: Callable[[], Result],
    patience: Patience,
    *,
    reached: Callable[[], int] = lambda: 0,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Run ``action`` until it succeeds, or fails with anything but a :class:`TransientError`, or too often.

    Parameters
    ----------
    action : callable
    patience : Patience
    reached : callable
        Bytes so far: failures with progress in between do not add up.
    sleep : callable
        Waits for so many seconds.

    Raises
    ------
    ArchiveError
        After ``patience.tries`` failures in a row.
    """
    failures, best = 0, reached()
    while True:
        try:
            return action()
        except TransientError as error:
            now = reached()
            failures = 1 if now > best else failures + 1
            best = max(best, now)
            if failures >= patience.tries:
                got = f"{error.got}, {failures} times in a row"
                raise ArchiveError(error.what, got=got, expected=error.expected, cure=error.cure) from error
            sleep(patience.delay(failures, error.retry_after))


def seconds_to_wait(retry_after: str | None, now: datetime | None = None) -> float | None:
    """Return what a ``Retry-After`` header asks for, given as seconds or as an HTTP date.

    Examples
    --------
    >>> seconds_to_wait("120")
    120.0
    """
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


class Limiter:
    """At most ``rate`` requests a second begun, and ``connections`` under way, over all threads of this process.

    Parameters
    ----------
    rate : float
        Requests a second; ``math.inf`` for no limit.
    connections : int
    clock, sleep : callable
        Seconds now; wait for so many seconds.
    """

    def __init__(
        self,
        rate: float,
        connections: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._interval = 1.0 / rate
        self._connections = threading.BoundedSemaphore(connections)
        self._lock, self._next = threading.Lock(), -math.inf
        self._clock, self._sleep = clock, sleep

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold one connection: waits until it may begin."""
        with self._connections:
            with self._lock:
                now = self._clock()
                begin = max(now, self._next)
                self._next = begin + self._interval
            if begin > now:
                self._sleep(begin - now)
            yield


@cache
def user_agent() -> str:
    """Return who is asking, so that a server's keeper can write to us."""
    try:
        about = metadata.metadata("emres")
    except metadata.PackageNotFoundError:
        return "emres"
    home = next((entry.split(",")[-1].strip() for entry in about.get_all("Project-URL") or ()), None)
    return f"emres/{about['Version']}" + (f" (+{home})" if home else "")
