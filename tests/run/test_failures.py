from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from emres.archive.store import Store
from emres.run.batch import BatchPlan, run_batch
from emres.run.failures import FILE, FailureLog, failures_of
from emres.run.outcome import Outcome
from emres.volume.grid import Grid
from tests.archive.volumes import noise, written

GRID = Grid((4, 5, 6), (1.0, 1.0, 1.0))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def reasons(store: Store, model: str | None = None) -> dict[str, str]:
    return {name: failure.reason for name, failure in failures_of(store, model).items()}


def failed(name: str, reason: str = "no map") -> Outcome:
    return Outcome(name, "failed", reason)


def test_the_last_failure_of_an_entry_counts_however_it_was_spelt(store: Store) -> None:
    FailureLog(store, "fsc").note(failed("emd_6824", "first"))
    FailureLog(store, "fsc").note(failed("EMD-6824", "second"))
    FailureLog(store, "fsc").note(failed("mine: ünïcode\n", "third"))
    assert reasons(store) == {"EMD-6824": "second", "mine: ünïcode\n": "third"}


def test_a_model_is_told_from_another_and_not_from_its_versions(store: Store) -> None:
    FailureLog(store, "models/emres-small").note(failed("a"))
    FailureLog(store, "fsc").note(failed("b"))
    assert reasons(store, "emres-small@0.5") == {"a": "no map"}
    assert reasons(store, "fsc-relion") == {}


@pytest.mark.parametrize("status", ["done", "skipped"])
def test_what_goes_well_in_the_end_is_no_failure(store: Store, status: str) -> None:
    FailureLog(store, "fsc").note(failed("a"))
    log = FailureLog(store, "fsc")
    log.note(Outcome("a", status))
    assert reasons(store) == {}
    lines = (store.path / FILE).read_text()
    log.note(Outcome("a", status))
    log.note(Outcome("b", status))
    assert (store.path / FILE).read_text() == lines, "what is no news is not written"


def test_a_younger_result_of_the_same_model_ends_a_failure(store: Store) -> None:
    group = store.create("a", {})
    written(group, "local_resolution/other@1", noise(GRID), GRID)
    FailureLog(store, "net").note(failed("a"))
    written(group, "local_resolution/net@2", noise(GRID), GRID)
    late = time.time() + 10
    os.utime(group.path / "local_resolution/other@1/zarr.json", (late, late))
    os.utime(group.path / "local_resolution/net@2/zarr.json", (late - 20, late - 20))
    assert reasons(store) == {"a": "no map"}
    os.utime(group.path / "local_resolution/net@2/zarr.json", (late, late))
    assert reasons(store) == {}


def test_lines_that_are_none_are_passed_over(store: Store) -> None:
    FailureLog(store, "fsc").note(failed("a"))
    with (store.path / FILE).open("ab") as stream:
        stream.write(b'{"name": "b"}\n[]\nnull\n\xff\xfe\n{"name": "c", "model": "fsc", "rea')
    assert reasons(store) == {"a": "no map"}


def test_a_store_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    FailureLog(Store(tmp_path / "none"), "fsc").note(failed("a"))
    assert not list(tmp_path.iterdir())
    (tmp_path / FILE).mkdir()
    FailureLog(Store(tmp_path), "fsc").note(failed("a"))


def test_a_batch_keeps_the_reasons_of_what_failed(store: Store) -> None:
    (outcome,) = run_batch(["nobody"], BatchPlan(store, "monores"))
    assert reasons(store, "monores") == {"nobody": outcome.reason}
