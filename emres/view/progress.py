"""Progress bars for notebooks, in the HTML that every notebook shows: no widgets, nothing elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from importlib import import_module
from typing import Any

# (name of what is worked on, stage, steps done, steps in all; 0 in all where it is not known)
Report = Callable[[str, str, int, int], None]

ENDS = ("done", "skipped", "failed")

_EVERY = 0.2  # seconds between two looks
_MOST_BARS = 8  # entries under way that are shown


def in_notebook() -> bool:
    """Tell whether this is a notebook: a kernel of IPython that shows HTML."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


@contextmanager
def notebook_bars(total: int, unit: str) -> Iterator[Report]:
    """Show a bar over all and one for each that is under way, in a notebook; anywhere else say nothing.

    Parameters
    ----------
    total : int
        How many there are in all.
    unit : str
        What is counted ("maps").

    Yields
    ------
    Report
        To be told of every stage; from any thread.
    """
    if not in_notebook():
        yield lambda *_: None
        return
    bars = _Bars(total, unit)
    try:
        yield bars
    finally:
        bars.show(last=True)


class _Bars:
    """One display of the cell, renewed a few times a second."""

    def __init__(self, total: int, unit: str) -> None:
        notebook = import_module("IPython.display")  # whose functions have no types
        self._html = notebook.HTML
        self._total, self._unit = total, unit
        self._ended: dict[str, int] = dict.fromkeys(ENDS, 0)
        self._under_way: dict[str, tuple[str, int, int]] = {}
        self._lock = threading.Lock()
        self._start = self._shown = time.monotonic()
        self._handle: Any = notebook.display(self._html(self._drawn()), display_id=True)

    def __call__(self, name: str, stage: str, done: int, total: int) -> None:
        with self._lock:
            if stage in ENDS:
                self._ended[stage] += 1
                self._under_way.pop(name, None)
            else:
                self._under_way[name] = (stage, done, total)
            due = time.monotonic() - self._shown > _EVERY
        if due:
            self.show()

    def show(self, last: bool = False) -> None:
        """Renew what is displayed; the last time without the bars of what is under way."""
        with self._lock:
            self._shown = time.monotonic()
            if last:
                self._under_way.clear()
            html = self._drawn()
        self._handle.update(self._html(html))

    def _drawn(self) -> str:
        ended = sum(self._ended.values())
        told = [f"{count} {word}" for word, count in self._ended.items() if count and word != "done"]
        seconds = f"{time.monotonic() - self._start:.0f} s"
        lines = [_bar(f"{ended} of {self._total} {self._unit}", ", ".join([*told, seconds]), ended, self._total)]
        lines += [_bar(name, *state) for name, state in list(self._under_way.items())[:_MOST_BARS]]
        return f'<div style="font-family: monospace">{"".join(lines)}</div>'


def _bar(name: str, stage: str, done: int, total: int) -> str:
    # A bar without a value moves to and fro: there is work, of unknown length.
    value = f' value="{done}" max="{total}"' if total else ""
    label = escape(f"{name}: {stage}", quote=True)
    return f'<div><progress{value} aria-label="{label}"></progress> {label}</div>'
