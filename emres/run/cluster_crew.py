"""The workers of a cluster, as they come and go, and how much work may lie on them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from emres.run.cluster_gpu import RESOURCE

if TYPE_CHECKING:
    from distributed import Client

_ASK = 5.0  # seconds for which what the scheduler said of its workers is taken as true
_AHEAD = 2  # tasks a thread of a worker: one that runs, and the next, so that it never waits for us


class Crew:
    """The workers of a cluster, as they come and go, and the room that they have.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._free = threading.Condition()
        self._taken, self._asked, self._gpus = 0, -_ASK, False
        self._workers: Mapping[str, Any] = {}
        self.suspects = threading.Lock()

    def take(self, seconds: float, tick: Callable[[], None]) -> bool:
        """Take room for a task; wait for it only if ``seconds`` is not 0, looking up that often to ``tick``."""
        while True:
            room = self.room()
            with self._free:
                if self._taken < room:
                    self._taken += 1
                    return True
                if not seconds:
                    return False
                self._free.wait(seconds)
            tick()

    def leave(self) -> None:
        """Give room back."""
        with self._free:
            self._taken -= 1
            self._free.notify()

    def room(self) -> int:
        """Return how many tasks may lie on the cluster: at least one, which then tells that there is no worker."""
        return max(1, _AHEAD * self.threads())

    def threads(self) -> int:
        """Return how many tasks the workers compute at once."""
        return sum(int(worker.get("nthreads", 1)) for worker in self._known().values())

    def memory(self) -> float | None:
        """Return what a task may take on the smallest of the workers; None where there is no limit."""
        limits = [
            worker["memory_limit"] / max(1, int(worker.get("nthreads", 1)))
            for worker in self._known().values()
            if worker.get("memory_limit")
        ]
        return min(limits, default=None)

    def count(self) -> int:
        """Return how many workers there are."""
        return len(self._known())

    def resources(self, device: str) -> dict[str, Any]:
        """Return what a task for a device asks for: a GPU, if any worker offers one, or ever did."""
        if device == "cpu":
            return {}
        # A GPU's worker that died comes back; until then its tasks must not fall to another.
        self._gpus = self._gpus or any("GPU" in worker.get("resources", {}) for worker in self._known().values())
        return dict(RESOURCE) if self._gpus else {}

    def without_gpu(self) -> list[str]:
        """Return the addresses of the workers that offer no GPU, where others do; else none."""
        plain = [address for address, worker in self._known().items() if "GPU" not in worker.get("resources", {})]
        return plain if self.resources("auto") else []

    def is_all_gpus(self) -> bool:
        """Tell whether all workers are there for their GPUs."""
        return bool(self.resources("auto")) and not self.without_gpu()

    def fitting(self, resources: Mapping[str, float]) -> int:
        """Return how many workers offer what is asked for."""
        return sum(
            all(worker.get("resources", {}).get(name, 0) >= count for name, count in resources.items())
            for worker in self._known().values()
        )

    def _known(self) -> Mapping[str, Any]:
        if time.monotonic() - self._asked > _ASK:
            self._asked = time.monotonic()
            with suppress(OSError, TimeoutError):  # a scheduler that is gone is told of elsewhere
                self._workers = self._client.scheduler_info(n_workers=-1).get("workers", {})
        return self._workers


_crews: WeakKeyDictionary[Client, Crew] = WeakKeyDictionary()
_lock = threading.Lock()


def crew_of(client: Client) -> Crew:
    """Return the crew of a client: one, however many threads give it work."""
    with _lock:
        if client not in _crews:
            _crews[client] = Crew(client)
        return _crews[client]
