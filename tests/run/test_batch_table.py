from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from emres.archive.store import Store
from emres.errors import StoreError, UsageError
from emres.run.batch_table import batch_rows, deviations, typical_ratio, with_links, write_table
from emres.run.failures import FailureLog
from emres.run.outcome import Outcome
from emres.view.report.index import COLUMNS, OUTLIER, IndexRow
from emres.volume.grid import Grid
from tests.archive.volumes import written

GRID = Grid((8, 8, 8), (1.5, 1.5, 1.5))
VALUES = np.full(GRID.shape, 4.0, dtype=np.float32)


def add(store: Store, name: str, reported: float | None, results: dict[str, float], **entry: object) -> None:
    group = store.create(name, {"title": f"Title of {name}", "resolution": reported, **entry})
    written(group, "map", VALUES, GRID)
    for result, median in results.items():
        facts = {"model": result, "median": median, "p05": median - 1, "p95": median + 2, "voxels": 512}
        written(group, f"local_resolution/{result}", VALUES, GRID, **facts)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Ten entries like each other, one far from what is reported, one failed, one without a result, one broken."""
    store = Store(tmp_path / "store")
    for k in range(10):
        add(store, f"EMD-{1000 + k}", 3.0 + k / 5, {"net@1": (3.0 + k / 5) * (1.12 + 0.01 * (k % 3))})
    add(store, "EMD-2000", 3.0, {"net@1": 9.0, "fsc": 3.3}, release_date="2024-05-01")
    add(store, "EMD-3000", 3.0, {})
    add(store, "EMD-4000", None, {"net@1": 5.0})
    log = FailureLog(store, "net")
    log.note(Outcome("EMD-5000", "failed", "no map"))
    log.note(Outcome("EMD-3000", "failed", "constant"))
    add(store, "EMD-6000", 3.0, {})
    (store.entry("EMD-6000").path / "map" / "zarr.json").write_text("{}")
    return store


def test_outliers_come_first_then_failures_with_their_reasons_then_the_rest(store: Store) -> None:
    rows = batch_rows(store.path, "net")
    assert [row.name for row in rows[:4]] == ["EMD-2000", "EMD-3000", "EMD-5000", "EMD-6000"]
    assert [row.status for row in rows[:4]] == ["outlier", "failed", "failed", "failed"]
    assert [row.reason for row in rows[1:3]] == ["constant", "no map"]
    assert "EMD-6000" in rows[3].reason
    assert [row.name for row in rows[4:]] == [*(f"EMD-{1000 + k}" for k in range(10)), "EMD-4000"]
    assert {row.status for row in rows[4:]} == {"done"}
    first = rows[0]
    assert (first.median, first.spread, first.reported, first.difference) == (9.0, 3.0, 3.0, 6.0)
    assert (first.model, first.voxels, first.released, first.voxel_size) == ("net@1", 512, "2024-05-01", 1.5)
    assert rows[-1].difference is rows[-1].deviation is None
    assert typical_ratio(rows) == pytest.approx(1.13, abs=0.01)


def test_a_result_is_chosen_with_or_without_its_version(store: Store) -> None:
    for name, median in (("fsc", 3.3), ("net", 9.0), ("net@1", 9.0), ("local_resolution/net@1", 9.0)):
        assert {row.name: row.median for row in batch_rows(store.path, name)}["EMD-2000"] == median
    assert {row.status for row in batch_rows(store.path, "none")} == {"waiting", "failed"}


def test_no_store_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        batch_rows(tmp_path / "none")


def test_a_deviation_is_one_of_the_batch_and_the_same_at_any_scale() -> None:
    rng = np.random.default_rng(3)
    reported = rng.uniform(2, 10, 400)
    medians = reported * np.exp(rng.normal(0.3, 0.1, 400))
    found = np.array(deviations(medians.tolist(), reported.tolist()))
    assert np.median(found) == pytest.approx(0, abs=1e-9)
    assert np.std(found) == pytest.approx(1, rel=0.15)
    np.testing.assert_allclose(deviations((7 * medians).tolist(), reported.tolist()), found, atol=1e-9)
    assert (np.abs(found) > OUTLIER).mean() < 0.01
    # Neither the half of a batch that is off nor exact agreement hides who is not like the others.
    medians[:150] *= 5
    assert np.min(np.array(deviations(medians.tolist(), reported.tolist()))[:150]) > OUTLIER
    assert deviations([3.0] * 20 + [4.0], [3.0] * 21)[-1] > OUTLIER


def test_of_few_or_unreported_entries_nothing_is_said() -> None:
    assert deviations([3.0] * 7, [3.0] * 7) == [None] * 7
    assert deviations([3.0, None] * 9, [None, 3.0] * 9) == [None] * 18
    assert deviations([], []) == []
    assert typical_ratio([IndexRow("a", median=3.0, reported=3.0)] * 7) is None


def test_reports_that_are_there_are_linked_from_where_the_page_lies(tmp_path: Path) -> None:
    reports = tmp_path / "reports #1"
    reports.mkdir()
    (reports / "a_report.html").write_text("")
    rows = with_links([IndexRow("a"), IndexRow("b")], tmp_path / "pages" / "index.html", reports)
    assert [row.report for row in rows] == ["./../reports%20%231/a_report.html", ""]
    assert with_links([IndexRow("a")], tmp_path / "index.html", tmp_path / "none")[0].report == ""


ROWS = [
    IndexRow("EMD-1", "=1+1", "done", median=3.25, voxels=7, warnings=("masked", "over-sharpened")),
    IndexRow('q"\n,', "ünï", "failed", "no map"),
]


def test_a_csv_holds_every_column_and_no_formula(tmp_path: Path) -> None:
    write_table(ROWS, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    assert tuple(found[0]) == COLUMNS
    assert (found[0]["title"], found[0]["median"], found[0]["reported"]) == ("'=1+1", "3.25", "")
    assert found[0]["warnings"] == "masked; over-sharpened"
    assert (found[1]["name"], found[1]["title"], found[1]["reason"]) == ('q"\n,', "ünï", "no map")


def test_parquet_holds_the_same_with_types(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'emres[table]'")
    write_table(ROWS, tmp_path / "t.parquet")
    found = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert found == [row.record() for row in ROWS]
    write_table([], tmp_path / "empty.parquet")
    assert parquet.read_table(tmp_path / "empty.parquet").column_names == list(COLUMNS)


def test_a_table_that_cannot_be_written_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="CSV or Parquet"):
        write_table(ROWS, tmp_path / "t.xlsx")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"emres\[table\]"):
        write_table(ROWS, tmp_path / "t.parquet")
    assert not list(tmp_path.iterdir())
