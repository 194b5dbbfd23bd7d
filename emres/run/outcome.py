"""What happened to one entry, and how a run tells what is going on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from emres.errors import EmresError

Status = Literal["done", "skipped", "failed"]

# (name of the entry, stage, steps done, steps in all; 0 in all where it is not known)
Report = Callable[[str, str, int, int], None]


def no_report(name: str, stage: str, done: int, total: int) -> None:
    """Tell nobody."""


def stoppable(report: Report, stop: threading.Event) -> Report:
    """Return a report that also ends the work: work tells of itself often, and is told here that it is to stop.

    Raises
    ------
    EmresError
        From the report, once ``stop`` is set.
    """

    def told(name: str, stage: str, done: int, total: int) -> None:
        if stop.is_set():
            raise EmresError("stopped on request", cure="run the same command again: it goes on from here")
        report(name, stage, done, total)

    return told


@dataclass(frozen=True)
class Outcome:
    """What happened to one entry.

    Parameters
    ----------
    name : str
        Accession or name of the entry.
    status : {"done", "skipped", "failed"}
        ``skipped``: everything was there already.
    reason : str
        Why it failed, in one sentence.
    seconds : float
        Wall time.
    facts : mapping
        What came of it (``median`` in Å, ``output``, ``bytes``, …), JSON values.
    """

    name: str
    status: Status
    reason: str = ""
    seconds: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON values."""
        return {**asdict(self), "seconds": round(self.seconds, 3), "facts": dict(self.facts)}


def outcome_of(
    name: str,
    work: Callable[[], tuple[bool, Mapping[str, Any]]],
    through: tuple[type[Exception], ...] = (),
) -> Outcome:
    """Run the work for one entry and tell what came of it: an entry that fails never stops the others.

    Parameters
    ----------
    name : str
    work : callable
        Returns (whether anything was done, facts).
    through : tuple of exceptions
        Those that no entry is to blame for: they are raised.

    Returns
    -------
    Outcome
    """
    start = time.perf_counter()
    try:
        worked, facts = work()
    except through:
        raise
    except EmresError as error:
        return Outcome(name, "failed", str(error), time.perf_counter() - start)
    except Exception as error:
        # Not one of ours: still one entry's trouble, not the batch's. The kind of error is part of the reason.
        return Outcome(name, "failed", f"{type(error).__name__}: {error}", time.perf_counter() - start)
    return Outcome(name, "done" if worked else "skipped", "", time.perf_counter() - start, facts)
