"""The lower bounds of pyproject.toml are those that ``make oldest`` tests with."""

from __future__ import annotations

import os
import re
import tomllib
from importlib.metadata import version

import pytest
from packaging.version import Version

from tests.oldest import EXTRAS, FILE, ROOT, constraints, lower_bounds


def test_the_file_is_what_pyproject_says() -> None:
    assert FILE.read_text(encoding="utf-8") == constraints(), "python -m tests.oldest"


def test_everything_that_emres_runs_with_has_a_lower_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *(one for extra in EXTRAS for one in project["optional-dependencies"][extra])]
    assert set(lower_bounds()) == {re.split(r"[\[<>=]", one)[0] for one in needed}
    assert {"bench", "docs", "test", *EXTRAS} == set(project["optional-dependencies"])


@pytest.mark.skipif("EMRES_OLDEST" not in os.environ, reason="make oldest sets EMRES_OLDEST")
def test_in_the_oldest_environment_everything_is_as_old_as_that() -> None:
    for name, bound in lower_bounds().items():
        if name not in ("torch", "neuroglancer"):  # see tests/oldest.py; a package of programs, not of data
            assert Version(version(name)) == Version(bound), name
