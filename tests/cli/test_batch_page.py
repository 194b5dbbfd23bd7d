"""``emres report STORE``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ended


def test_a_store_becomes_one_page_with_the_reasons_of_failures(
    emres: Callable[..., Ended], mirror: Path, toy_model: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    ids = ("EMD-0001", "EMD-0003")
    assert emres("batch-predict", *ids, "--to", store, "--mirror", mirror, "--model", toy_model).code == 3
    arguments = ("report", store, "-o", tmp_path / "index.html", "--table", tmp_path / "t.csv")
    facts = emres(*arguments, "--json").json
    assert (facts["entries"], facts["failed"], facts["thumbnails"]) == (2, 1, 1)
    assert "constant" in (tmp_path / "t.csv").read_text()
    assert "constant" in (tmp_path / "index.html").read_text()
    again = emres(*arguments)
    assert (again.code, "exists already" in again.err) == (2, True)
    said = emres(*arguments, "--force")
    assert "2 entries, 0 far from what is reported, 1 failed" in said.out
    assert f"table: {tmp_path / 't.csv'}" in said.out


@pytest.mark.parametrize(
    ("source", "option", "words"),
    [
        ("store", ("--voxel-size", 1), "--voxel-size is for an entry"),
        ("map.mrc", ("--table", "t.csv"), "--table is for a store"),
    ],
)
def test_an_option_of_the_other_sort_is_refused(
    emres: Callable[..., Ended], tmp_path: Path, source: str, option: tuple[object, ...], words: str
) -> None:
    (tmp_path / "store").mkdir()
    ended = emres("report", tmp_path / source, *option, "-o", tmp_path / "index.html")
    assert (ended.code, words in ended.err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
