"""``python -m benchmarks [NAME…] [--small | --large] [--json FILE]``."""

from __future__ import annotations

import argparse
import json
import math
import pkgutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import benchmarks
from benchmarks.report import Row, machine, markdown


def names() -> list[str]:
    """Return the modules here that offer ``measure(size)``."""
    found = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return [name for name in found if name != "__main__" and hasattr(import_module(f"benchmarks.{name}"), "measure")]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(names())}; all by default")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--small", dest="size", action="store_const", const="small", help="seconds; says nothing")
    size.add_argument("--large", dest="size", action="store_const", const="large", help="what takes long, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file, too")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - set(names()):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    where, rows = machine(), measured(given.names or names(), given.size or "full")
    print(f"{where}\n\n{markdown(rows)}")
    if given.json:
        given.json.write_text(json.dumps({"machine": where, "rows": [_facts(name, row) for name, row in rows]}))
    return 0


def _facts(name: str, row: Row) -> dict[str, Any]:
    """Return a row as JSON values, of which NaN is none."""
    facts = asdict(row)
    return {"benchmark": name, **facts, "value": None if math.isnan(row.value) else row.value}


def measured(chosen: Sequence[str], size: str) -> list[tuple[str, Row]]:
    """Run benchmarks one after the other, telling on the error stream which is under way and what each took."""
    rows: list[tuple[str, Row]] = []
    start = time.perf_counter()
    for number, name in enumerate(chosen, 1):
        print(f"{name} ({number} of {len(chosen)}) … ", end="", file=sys.stderr, flush=True)
        begun = time.perf_counter()
        rows += [(name, row) for row in import_module(f"benchmarks.{name}").measure(size)]
        print(f"{time.perf_counter() - begun:.0f} s", file=sys.stderr)
    print(f"all {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
