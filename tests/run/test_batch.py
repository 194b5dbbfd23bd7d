from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from emres.archive.mrc_write import write_mrc
from emres.archive.store import Store
from emres.run import predict
from emres.run.batch import BatchPlan, planned, run_batch
from emres.run.cluster import connect
from emres.run.ingest import import_map
from emres.run.outcome import Outcome
from emres.volume.grid import Grid, make_volume
from tests.run.conftest import toy_density
from tests.run.test_cluster_started import until

GRID = Grid((36, 32, 40), (2.1, 2.1, 2.1))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    for seed in range(3):
        path = write_mrc(tmp_path / f"m{seed}.mrc", make_volume(toy_density(GRID, seed), GRID))
        import_map(path, store, f"m{seed}")
    return store


@pytest.fixture(scope="module")
def client():
    with connect("local:1") as client:
        yield client


def by_name(outcomes) -> dict[str, Outcome]:
    return {outcome.name: outcome for outcome in outcomes}


def group_of(leader: int) -> list[int]:
    """Return the processes of a group that live."""
    return [process.pid for process in psutil.process_iter() if _is_in(process.pid, leader)]


def _is_in(pid: int, leader: int) -> bool:
    with suppress(ProcessLookupError, PermissionError):
        return os.getpgid(pid) == leader
    return False


@pytest.mark.parametrize("where", ["here", "cluster"])
def test_every_entry_has_an_outcome_and_a_failure_stops_nobody(
    store: Store, toy_model: Path, where: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    client = request.getfixturevalue("client") if where == "cluster" else None
    plan = BatchPlan(store, str(toy_model), export=tmp_path / "out")
    found = by_name(run_batch(["m0", "nobody", "m1", "m2", "m1"], plan, client))
    assert {name: outcome.status for name, outcome in found.items()} == {
        "m0": "done", "m1": "done", "m2": "done", "nobody": "failed",
    }  # fmt: skip
    assert "nobody" in found["nobody"].reason
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"m{k}_local_resolution.mrc" for k in range(3)
    ]
    again = by_name(run_batch(["m0", "m1", "m2"], plan, client))
    assert {outcome.status for outcome in again.values()} == {"skipped"}
    assert {outcome.facts["computed"] for outcome in again.values()} == {0}
    assert again["m0"].facts["median"] == found["m0"].facts["median"]


def test_what_is_missing_is_planned_and_nothing_else(store: Store, toy_model: Path, tmp_path: Path) -> None:
    plan = BatchPlan(store, str(toy_model), export=tmp_path / "out")
    assert planned("m0", plan) == ["predict", "export"]
    list(run_batch(["m0"], plan))
    assert planned("m0", plan) == []
    (tmp_path / "out/m0_local_resolution.mrc").unlink()
    assert planned("m0", plan) == ["export"]
    assert planned("EMD-0001", plan) == ["fetch", "predict", "export"]


def test_a_bug_in_one_entry_is_that_entry_s_failure(
    store: Store, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = predict.predict_entry

    def buggy(job, *rest):
        if job.group.name == "m1":
            raise ZeroDivisionError("oh")
        return real(job, *rest)

    monkeypatch.setattr(predict, "predict_entry", buggy)
    found = by_name(run_batch(["m0", "m1", "m2"], BatchPlan(store, str(toy_model))))
    assert found["m1"].reason == "ZeroDivisionError: oh"
    assert found["m2"].status == "done"


def test_a_big_map_is_spread_over_the_cluster_block_by_block(store, toy_model: Path, client, monkeypatch) -> None:
    from emres.run import predict

    monkeypatch.setattr(predict.PredictJob, "in_memory", False)
    monkeypatch.setattr(predict, "_CORE", 32)
    found = by_name(run_batch(["m0"], BatchPlan(store, str(toy_model)), client))
    assert found["m0"].status == "done", found["m0"].reason
    assert found["m0"].facts["computed"] > 1
    assert (np.asarray(store.entry("m0").array("local_resolution/toy@1")[...]) > 0).any()


def test_ctrl_c_ends_a_batch_soon_leaves_nothing_behind_and_the_same_command_goes_on(
    tmp_path: Path, toy_model: Path
) -> None:
    (tmp_path / "tmp").mkdir()
    big = Grid((128, 128, 128), (1.5, 1.5, 1.5))
    store = Store(tmp_path / "store")
    path = write_mrc(tmp_path / "big.mrc", make_volume(toy_density(big), big))
    for name in ("a", "b", "c", "d"):
        import_map(path, store, name)
    command = [sys.executable, "-m", "emres", "batch-predict", "--all", "--to", str(store.path),
               "--model", str(toy_model), "--mask", "none", "--cluster", "local:1"]  # fmt: skip
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(store.path.glob("*.zarr/local_resolution/*/zarr.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert time.monotonic() - start < 30
    assert "same command goes on" in err
    assert "Traceback" not in err
    assert until(lambda: not group_of(process.pid), 10), "workers are left"
    left = [path for path in (tmp_path / "tmp").rglob("*") if path.suffix != ".lock"]  # Dask's own, empty
    assert [path.name for path in left] in ([], ["dask-scratch-space"])
    assert not list(store.path.glob(".batch/*")), "claims and records are left"
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(entry.results() for entry in store)
