"""How the command line speaks: to a person in colour and tables, to a machine in JSON, errors always to stderr."""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from emres.run.outcome import Outcome, Report


@dataclass
class Console:
    """Where output goes.

    Parameters
    ----------
    as_json, quiet, verbose : bool
    """

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    _rich: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        level = logging.INFO if self.verbose else logging.ERROR if self.quiet else logging.WARNING
        # Only emres' own logger is spoken for: Dask and others keep the handlers they bring.
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        logger = logging.getLogger("emres")
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
        warnings.showwarning = lambda message, *_, **__: logger.warning("%s", message)

    @property
    def speaks(self) -> bool:
        """Whether a person is to read along."""
        return not (self.as_json or self.quiet)

    @property
    def rich(self) -> Any:
        """The rich console, made on first use."""
        if self._rich is None:
            from rich.console import Console as RichConsole

            self._rich = RichConsole(highlight=False)
        return self._rich

    def say(self, text: str) -> None:
        """Tell a person."""
        if self.speaks:
            self.rich.print(text, soft_wrap=True)

    def data(self, value: Any) -> None:
        """Print JSON."""
        print(json.dumps(value, indent=2, ensure_ascii=False, default=str))

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table, numbers to the right; nothing where there are no rows."""
        from rich.table import Table

        rows = list(rows)
        if not rows:
            return
        table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
        for number, column in enumerate(columns):
            numeric = all(set(row[number]) <= set("0123456789.,-/") for row in rows)
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        self.rich.print(table)

    @contextmanager
    def progress(self, total: int, unit: str) -> Iterator[Report]:
        """Show one bar over all entries and one for each that is under way.

        Parameters
        ----------
        total : int
            Entries in all.
        unit : str
            What is counted ("maps").
        """
        if not (self.speaks and self.rich.is_terminal):
            yield lambda *_: None
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        with Progress(*columns, console=self.rich, transient=True) as bars:
            yield _Bars(bars, bars.add_task(f"[bold]{unit}", total=total, rate=""))


def duration(seconds: float) -> str:
    """Return a time as a person says it.

    Examples
    --------
    >>> duration(42), duration(754), duration(100_000)
    ('42 s', '13 min', '27.8 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Bars:
    """One bar an entry under way, below the bar over all."""

    def __init__(self, bars: Progress, overall: TaskID) -> None:
        self._bars, self._overall = bars, overall
        self._entries: dict[str, TaskID] = {}
        self._began, self._ended = time.monotonic(), 0

    def __call__(self, name: str, stage: str, done: int, total: int) -> None:
        if stage in ("done", "skipped", "failed"):
            self._bars.advance(self._overall)
            self._ended += 1
            per_minute = 60 * self._ended / max(time.monotonic() - self._began, 1e-3)
            self._bars.update(self._overall, rate=f"{per_minute:.3g} a minute")
            if name in self._entries:
                self._bars.remove_task(self._entries.pop(name))
            return
        if name not in self._entries:
            self._entries[name] = self._bars.add_task(name, rate="")
        self._bars.update(self._entries[name], description=f"{name} {stage}", completed=done, total=total or None)


def exit_code(outcomes: Iterable[Outcome]) -> int:
    """Return 0 when all went well, 3 when some failed."""
    return 3 if any(outcome.status == "failed" for outcome in outcomes) else 0


def show_outcomes(console: Console, outcomes: Sequence[Outcome], columns: Mapping[str, str]) -> None:
    """Print what happened to every entry: JSON, or a table and the reasons of those that failed.

    Parameters
    ----------
    console : Console
    outcomes : sequence of Outcome
    columns : mapping
        Fact -> heading.
    """
    if console.as_json:
        console.data([outcome.to_json() for outcome in outcomes])
        return
    if console.speaks:
        rows = (
            [
                outcome.name,
                outcome.status,
                *(_cell(outcome.facts.get(key)) for key in columns),
                f"{outcome.facts.get('seconds', outcome.seconds):.1f}",
            ]
            for outcome in outcomes
            if outcome.status != "failed"
        )
        console.table("", ["map", "", *columns.values(), "seconds"], rows)
    for outcome in outcomes:
        if outcome.status == "failed":
            print(f"failed: {outcome.name}: {outcome.reason}", file=sys.stderr)
        if not console.quiet:
            warn(outcome.facts.get("warnings", ()), outcome.name)


def warn(warnings: Iterable[str], name: str) -> None:
    """Tell on stderr what makes a result doubtful."""
    for warning in warnings:
        print(f"warning: {name}: {warning}", file=sys.stderr)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
