"""Why entries failed, kept beside them: a line for each in ``STORE/failures.jsonl``, for whoever looks later."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from emres.archive.entry import parse_emdb_id
from emres.archive.store import Store
from emres.errors import UsageError
from emres.run.outcome import Outcome

FILE = "failures.jsonl"

_LONGEST = 500  # characters of a reason that are kept


@dataclass(frozen=True)
class Failure:
    """One entry that failed.

    Parameters
    ----------
    name : str
        Accession, or whatever the user called it.
    model : str
        The net or method it failed with.
    reason : str
        One sentence.
    time : float
        Seconds since 1970.
    """

    name: str
    model: str
    reason: str
    time: float


class FailureLog:
    """Notes the failures of one run, and that an entry that once failed has now succeeded.

    Parameters
    ----------
    store : Store
    model : str
        The net or method of the run.
    """

    def __init__(self, store: Store, model: str) -> None:
        self._store, self._model = store, model
        self._open = set(failures_of(store, model))

    def note(self, outcome: Outcome) -> None:
        """Write down what came of an entry, if it is news. What cannot be written is let be."""
        name = _official(outcome.name)
        if outcome.status == "failed":
            self._open.add(name)
            self._write(name, outcome.reason[:_LONGEST] or "for no reason that was told")
        elif name in self._open:
            self._open.remove(name)
            self._write(name, "")

    def _write(self, name: str, reason: str) -> None:
        line = {"name": name, "model": self._model, "reason": reason, "time": time.time()}
        with suppress(OSError):  # a note for later is not worth an entry's outcome, nor a folder that was never made
            if self._store.path.is_dir():
                with (self._store.path / FILE).open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def failures_of(store: Store, model: str | None = None) -> dict[str, Failure]:
    """Return the last failure of every entry that has not succeeded since.

    Parameters
    ----------
    store : Store
    model : str, optional
        Only with this net or method (``fsc``, ``emres-small`` or ``emres-small@0.2``).

    Returns
    -------
    dict
        By name of the entry.
    """
    try:
        lines = (store.path / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found: dict[str, Failure] = {}
    for failure in filter(None, map(_parsed, lines)):
        if model is None or _same_model(failure.model, model):
            found[failure.name] = failure
    # An empty reason says that it went well in the end; a younger result, made by other commands, says so too.
    return {name: failure for name, failure in found.items() if failure.reason and not _made_since(store, failure)}


def _made_since(store: Store, failure: Failure) -> bool:
    """Tell whether a result of the same model is younger than the failure."""
    try:
        group = store.entry(failure.name)
    except UsageError:  # never the name of an entry
        return False
    results = (kind for kind in group.results() if _same_model(kind.partition("/")[2], failure.model))
    return any((group.path / kind / "zarr.json").stat().st_mtime >= failure.time for kind in results)


def _same_model(one: str, other: str) -> bool:
    """Tell whether two words mean one model: ``emres-small``, ``emres-small@0.2``, ``models/emres-small``."""
    return Path(one).name.partition("@")[0] == Path(other).name.partition("@")[0]


def _parsed(line: str) -> Failure | None:
    try:
        found = json.loads(line)
        return Failure(str(found["name"]), str(found["model"]), str(found["reason"]), float(found["time"]))
    except (ValueError, KeyError, TypeError):  # a line that a kill has cut short
        return None


def _official(name: str) -> str:
    try:
        return parse_emdb_id(name)
    except UsageError:
        return name
