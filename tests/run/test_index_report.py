"""The page of a batch, from a store."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emres.archive.store import Store
from emres.errors import StoreError, UsageError
from emres.run import index_report
from emres.run.index_report import write_index
from emres.volume.grid import Grid
from tests.archive.volumes import written
from tests.run.test_batch_table import store as store

GRID = Grid((56, 56, 56), (2.0, 2.0, 2.0))


def table_of(page: Path) -> list[dict[str, Any]]:
    found = re.search(r'id="table">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    table = json.loads(found[1])
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def test_page_and_table_hold_every_entry_with_pictures_and_links(store: Store, tmp_path: Path) -> None:
    (tmp_path / "EMD-1003_report.html").write_text("")
    told: list[tuple[str, int]] = []
    facts = write_index(
        store.path,
        tmp_path / "index.html",
        result="net",
        table=tmp_path / "t.csv",
        report=lambda name, stage, done, total: told.append((stage, total)),
    )
    rows = table_of(tmp_path / "index.html")
    assert facts["entries"] == len(rows) == len((tmp_path / "t.csv").read_text().splitlines()) - 1 == 15
    assert (facts["outliers"], facts["failed"]) == (1, 3)
    assert facts["thumbnails"] == sum(bool(row["picture"]) for row in rows) == 12
    assert {row["name"]: row["report"] for row in rows if row["report"]} == {"EMD-1003": "./EMD-1003_report.html"}
    assert facts["bytes"] == (tmp_path / "index.html").stat().st_size
    assert ("draw", 15) in told
    assert told[-1] == ("done", 1)


def test_the_page_keeps_to_its_bytes_with_smaller_pictures_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    values = np.random.default_rng(0).uniform(3, 9, GRID.shape).astype(np.float32)
    for k in range(6):
        group = store.create(f"m{k}", {})
        written(group, "map", values, GRID)
        written(group, "local_resolution/a@1", values, GRID, median=5.0)
    rows = write_index(store.path, tmp_path / "whole.html")["bytes"]
    bare = write_index(store.path, tmp_path / "bare.html", thumbnails=False)["bytes"]
    for share, pictures in ((0.6, 6), (0.02, 0)):
        most = bare + share * (rows - bare)
        monkeypatch.setattr(index_report, "_FIXED", bare)
        monkeypatch.setattr(index_report, "MOST_BYTES", int(most))
        facts = write_index(store.path, tmp_path / "index.html", force=True)
        assert facts["bytes"] <= most + 400  # the sentence that says so
        assert facts["thumbnails"] == pictures
    assert "There are no pictures" in (tmp_path / "index.html").read_text()


def test_an_empty_store_and_results_without_facts_have_a_page(tmp_path: Path) -> None:
    Store(tmp_path / "empty").path.mkdir()
    assert write_index(tmp_path / "empty", tmp_path / "index.html")["entries"] == 0
    assert table_of(tmp_path / "index.html") == []
    group = Store(tmp_path / "null").create("a", {"title": None, "resolution": None})
    written(group, "map", np.zeros(GRID.shape, np.float32), GRID)
    written(group, "local_resolution/a@1", np.zeros(GRID.shape, np.float32), GRID, median=None, p05=float("nan"))
    facts = write_index(tmp_path / "null", tmp_path / "index.html", force=True)
    (row,) = table_of(tmp_path / "index.html")
    assert (row["status"], row["median"], row["picture"]) == ("done", None, "")
    assert facts["thumbnails"] == 0


def test_what_cannot_be_written_is_refused_before_any_work(store: Store, tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        write_index(store.path, tmp_path / "there.html")
    with pytest.raises(UsageError, match="exists already"):
        write_index(store.path, tmp_path / "index.html", table=tmp_path / "there.html")
    with pytest.raises(UsageError, match="exists already"):
        write_index(store.path, store.path, force=True)
    with pytest.raises(UsageError, match="CSV or Parquet"):
        write_index(store.path, tmp_path / "index.html", table=tmp_path / "t.xls")
    with pytest.raises(StoreError, match="there is no store"):
        write_index(tmp_path / "none", tmp_path / "index.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "there.html"]
    assert (tmp_path / "there.html").read_text() == "mine"
