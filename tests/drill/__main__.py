"""``python -m tests.drill [--entries 40] [--seed 1]``: run the drill and tell what it found."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.drill.drill import Drill


def _tell(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drill", description=__doc__)
    parser.add_argument("--entries", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="emres-drill-") as folder:
        found = Drill(Path(folder), given.entries, given.seed, tell=_tell).run()
    sys.stdout.write(json.dumps(found.facts(), indent=2) + "\n")
    return 0 if found.passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
