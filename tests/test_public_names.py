"""The public names: one table, told to type checkers too, and nothing heavy before it is used."""

from __future__ import annotations

import ast
import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import emres

HEAVY = {"torch", "distributed", "dask", "xarray", "zarr", "matplotlib", "gemmi", "scipy", "mrcfile", "requests"}

TIMED_IMPORT = """
import json, sys, time
start = time.perf_counter()
import emres
print(json.dumps([time.perf_counter() - start, sorted(sys.modules)]))
"""


@pytest.fixture(scope="module")
def imports() -> list[tuple[float, list[str]]]:
    """Seconds and loaded modules of ``import emres``, five times in a fresh interpreter."""
    command = [sys.executable, "-c", TIMED_IMPORT]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(5)]
    return [tuple(json.loads(run)) for run in runs]


def test_import_loads_nothing_heavy(imports: list[tuple[float, list[str]]]) -> None:
    assert HEAVY.isdisjoint(imports[0][1])


def test_import_takes_less_than_a_third_of_a_second(imports: list[tuple[float, list[str]]]) -> None:
    assert statistics.median(seconds for seconds, _ in imports) < 0.3


@pytest.mark.parametrize("name", emres.__all__)
def test_every_public_name_resolves_to_what_it_names(name: str) -> None:
    value = getattr(emres, name)
    if name in emres._HOMES:
        assert value.__module__ == emres._HOMES[name]
        assert value.__name__ == name
        assert value.__doc__


def test_type_checkers_see_exactly_the_table() -> None:
    tree = ast.parse(Path(emres.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == emres._HOMES
    assert all(alias.asname == alias.name for node in block.body for alias in node.names), "re-exports need `as`"


def test_dir_lists_the_public_names_and_no_more() -> None:
    assert dir(emres) == sorted(["__version__", *emres._HOMES])


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'fetsch'; it has .*fetch"):
        _ = emres.fetsch
