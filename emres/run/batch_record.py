"""How far a batch is, written down while it runs: for ``emres status`` in another terminal, and for after its death."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emres.archive.disk import replaced_file
from emres.archive.store import Store
from emres.errors import StoreError
from emres.run.batch_claim import FOLDER
from emres.run.outcome import Report

_EVERY = 2.0  # seconds between two writings
_SILENT = 60.0  # seconds after which a run on another machine counts as dead


@dataclass
class RunRecord:
    """What a run tells of itself.

    Parameters
    ----------
    model : str
        The net or method of the run.
    total : int
        Entries that it was given.
    dashboard : str, optional
    """

    model: str
    total: int
    dashboard: str | None = None
    began: float = field(default_factory=time.time)
    _ended: Counter[str] = field(default_factory=Counter)
    _stages: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def watching(self, report: Report) -> Report:
        """Return a report that is noted here, too."""

        def told(name: str, stage: str, done: int, total: int) -> None:
            with self._lock:
                if stage in ("done", "skipped", "failed"):
                    self._ended[stage] += 1
                    self._stages.pop(name, None)
                else:
                    self._stages[name] = (stage, done, total)
            report(name, stage, done, total)

        return told

    def facts(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        with self._lock:
            under_way = [
                {"name": name, "stage": stage, "done": done, "total": total}
                for name, (stage, done, total) in self._stages.items()
            ]
            ended = dict(self._ended)
        return {
            "pid": os.getpid(),
            "born": _born(os.getpid()),
            "host": socket.gethostname(),
            "model": self.model,
            "total": self.total,
            "dashboard": self.dashboard,
            "began": self.began,
            "seen": time.time(),
            "ended": ended,
            "under_way": under_way,
        }


@contextmanager
def recorded(store: Store, record: RunRecord) -> Iterator[None]:
    """Keep a record in the store while a run goes on; when it ends, in whatever way but a kill, it goes.

    A store that cannot be written has none.
    """
    path = store.path / FOLDER / f"{socket.gethostname()}-{os.getpid()}-{id(record):x}.json"
    over = threading.Event()
    _forget_dead(store)
    writer = threading.Thread(target=_write_on, args=(store, path, record, over), daemon=True, name="run record")
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _write_on(store: Store, path: Path, record: RunRecord, over: threading.Event) -> None:
    while not over.is_set():
        with suppress(StoreError, OSError):
            if store.path.is_dir():  # a store that is never made needs no record
                with replaced_file(path) as part:
                    part.write_text(json.dumps(record.facts()), encoding="utf-8")
        over.wait(_EVERY)


def runs_of(store: Store) -> list[dict[str, Any]]:
    """Return what is written of the runs at a store, those that died without a word among them.

    Returns
    -------
    list of dict
        As :meth:`RunRecord.facts`, and ``alive``, ``rate`` (entries a minute, of those that had to be worked on),
        ``left`` (seconds, or None where nothing can be said); the oldest first.
    """
    found = [facts for path in (store.path / FOLDER).glob("*.json") if (facts := _read(path)) is not None]
    return sorted(found, key=lambda facts: float(facts["began"]))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        facts = dict(json.loads(path.read_text(encoding="utf-8")))
        worked = sum(count for status, count in facts["ended"].items() if status != "skipped")
        seconds = max(facts["seen"] - facts["began"], 1e-9)
        waiting = facts["total"] - sum(facts["ended"].values())
        left = waiting * seconds / worked if worked else None
        return {**facts, "alive": _is_alive(facts), "rate": round(60 * worked / seconds, 3), "left": left}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # of a newer emres, or damaged: no news
        return None


def _is_alive(facts: dict[str, Any]) -> bool:
    if facts["host"] != socket.gethostname():
        return time.time() - float(facts["seen"]) < _SILENT
    # The number of a process that died is given again: the same process was also born then.
    return bool(_born(int(facts["pid"])) == facts["born"])


def _born(pid: int) -> float | None:
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _forget_dead(store: Store) -> None:
    """Remove the records of runs that died: a new run goes on with their work."""
    for path in (store.path / FOLDER).glob("*.json"):
        facts = _read(path)
        if facts is not None and not facts["alive"]:
            with suppress(OSError):
                path.unlink()
    for part in (store.path / FOLDER).glob(".*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _SILENT:
                part.unlink()
