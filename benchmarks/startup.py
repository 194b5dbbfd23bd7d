"""How long a person waits before anything happens."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.report import Row, seconds

COMMANDS = {
    "import emres": ["-c", "import emres"],
    "emres --help": ["-m", "emres", "--help"],
}
BARE = ["-c", "pass"]
WANTED = 0.3  # s


def measure(size: str) -> list[Row]:
    """Return the wall seconds of starting emres (median of 5), with those of a bare Python beside them."""
    repeats = 1 if size == "small" else 5
    bare = started(BARE, repeats)
    rows = []
    for what, arguments in COMMANDS.items():
        taken = started(arguments, repeats)
        rows.append(Row(what, taken, WANTED, unit="s", how=f"{taken / bare:.1f} times a bare Python's {bare:.3f} s"))
    return rows


def started(arguments: list[str], repeats: int) -> float:
    """Return the median wall seconds of a Python process, after a warm-up."""

    def run() -> None:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

    run()
    return statistics.median(seconds(run) for _ in range(repeats))
