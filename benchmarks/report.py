"""What a benchmark answers, and the table it is printed in."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("emres", "numpy", "torch", "zarr", "dask", "isal")
SIZES = ("small", "full", "large")


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Parameters
    ----------
    what : str
    value : float
        A ratio, or a figure in ``unit``; NaN where it could not be taken, which ``how`` then tells why.
    unit : str
        Empty for a ratio.
    wanted : float, optional
        The figure is to be at most this. None where it is told for information.
    how : str
        What the figure was made of.
    """

    what: str
    value: float
    wanted: float | None = None
    unit: str = ""
    how: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure is what is wanted, or nothing is."""
        return self.wanted is None or self.value <= self.wanted


def side_by_side(
    first: Callable[[], object],
    second: Callable[[], object],
    repeats: int = 3,
    before: Callable[[], object] = lambda: None,
) -> tuple[float, float]:
    """Return the median seconds of two calls, taken in turns after one warm-up of each.

    In turns, so that whatever else the machine is doing meets both alike. What is called ``before`` each is not timed.
    """
    before(), first(), before(), second()
    pairs = [((before(), seconds(first))[1], (before(), seconds(second))[1]) for _ in range(repeats)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def seconds(call: Callable[[], object]) -> float:
    """Return the wall seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def machine() -> str:
    """Return in one line where and with what this was measured, and how busy the machine was."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{processor()}, {cores} cores, {load} at the start; Python {platform.python_version()}, {packages}"


def processor() -> str:
    """Return the processor's name."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def markdown(rows: Iterable[tuple[str, Row]]) -> str:
    """Return (benchmark, row) pairs as a Markdown table."""
    head = ("benchmark", "figure", "measured", "wanted", "", "made of")
    lines = [_line(head), _line(("---",) * len(head))]
    for name, row in rows:
        wanted = "" if row.wanted is None else f"<= {row.wanted:.3g}{_unit(row)}"
        verdict = "" if row.wanted is None else "yes" if row.met else "NO"
        measured = "" if math.isnan(row.value) else f"**{_rounded(row.value)}**{_unit(row)}"
        lines.append(_line((name, row.what, measured, wanted, verdict, row.how)))
    return "\n".join(lines)


def _rounded(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _unit(row: Row) -> str:
    return f" {row.unit}" if row.unit else ""


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
