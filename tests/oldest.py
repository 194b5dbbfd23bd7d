"""The oldest of everything that pyproject.toml allows: ``python -m tests.oldest`` writes ``constraints-oldest.txt``.

``make oldest`` installs it and runs tests with it. torch is not in the list: of its oldest version pip knows for Linux
only the build with several GB of CUDA packages, which ``make oldest OLDEST_TORCH=torch==2.4.0`` takes.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE = ROOT / "constraints-oldest.txt"
EXTRAS = ("hdf5", "view", "slurm", "ssh", "table")  # what a user runs with; the others build and test
HEAD = "# The lower bounds of pyproject.toml, written by: python -m tests.oldest (make oldest tests with them)\n"


def lower_bounds() -> dict[str, str]:
    """Return the lower bound of every run-time dependency, by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *(one for extra in EXTRAS for one in extras[extra])]
    found = (re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", one) for one in needed)
    return {match[1]: match[2] for match in found if match}


def constraints() -> str:
    """Return what ``constraints-oldest.txt`` holds."""
    pins = (f"{name}=={version}\n" for name, version in sorted(lower_bounds().items()) if name != "torch")
    return HEAD + "".join(pins)


if __name__ == "__main__":
    FILE.write_text(constraints(), encoding="utf-8")
