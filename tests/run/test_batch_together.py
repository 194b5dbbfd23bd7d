"""Runs that share a store, what they tell of themselves, the room they take, and what ends them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emres.archive.emdb import Mirror
from emres.archive.mrc_write import write_mrc
from emres.archive.store import Store
from emres.errors import BusyError, FullDiskError, StoreError
from emres.run import batch_entry, cluster_job
from emres.run.batch import BatchPlan, fetch_by, planned, run_batch
from emres.run.batch_cache import remembered
from emres.run.batch_claim import FOLDER, claimed
from emres.run.batch_record import RunRecord, recorded, runs_of
from emres.run.cluster_tasks import ClusterError
from emres.run.fetch import FetchPlan
from emres.run.outcome import no_report
from emres.run.survey import progress_of
from emres.volume.grid import Grid, make_volume
from tests.mirror import build_mirror
from tests.run.conftest import toy_density

GRID = Grid((36, 32, 40), (2.1, 2.1, 2.1))
NAMES = [f"EMD-000{number}" for number in range(1, 5)]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Mirror:
    root = tmp_path_factory.mktemp("together")
    maps = {
        name: write_mrc(root / f"{name}.mrc", make_volume(toy_density(GRID, seed), GRID))
        for seed, name in enumerate(NAMES)
    }
    return build_mirror(root / "mirror", maps)


@pytest.fixture
def plan(tmp_path: Path, mirror: Mirror, toy_model: Path) -> BatchPlan:
    store = Store(tmp_path / "store")
    return BatchPlan(store, str(toy_model), export=tmp_path / "out", fetch=fetch_by(FetchPlan(store, mirror)))


def statuses(plan: BatchPlan, names: list[str] = NAMES) -> dict[str, str]:
    return {outcome.name: outcome.status for outcome in run_batch(names, plan)}


def bytes_of(store: Store) -> dict[str, bytes]:
    files = (path for path in sorted(store.path.rglob("*")) if path.is_file())
    return {str(path.relative_to(store.path)): path.read_bytes() for path in files}


# --- two at once -----------------------------------------------------------------------------------------------------


def test_two_runs_on_one_store_share_the_work_and_undo_nothing(
    plan: BatchPlan, mirror: Mirror, toy_model: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "emres", "batch-predict", *NAMES, "--to", str(plan.store.path), "--export",
               str(plan.export), "--mirror", mirror.root, "--model", str(toy_model), "--json"]  # fmt: skip
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    outcomes = [json.loads(out) for out, _ in told]
    for name in NAMES:
        computed = [one["facts"]["computed"] for each in outcomes for one in each if one["name"] == name]
        assert sorted(computed) == [0, 1], name
    calm = replace(plan, store=Store(tmp_path / "calm"), export=tmp_path / "calm-out")
    calm = replace(calm, fetch=fetch_by(FetchPlan(calm.store, mirror)))
    statuses(calm)
    assert bytes_of(plan.store) == bytes_of(calm.store)


def test_an_entry_that_another_run_is_at_waits_and_says_who(plan: BatchPlan) -> None:
    statuses(plan, ["EMD-0001"])
    stages: list[str] = []
    over = threading.Event()

    def report(name: str, stage: str, done: int, total: int) -> None:
        stages.append(stage)
        if stage.startswith("waits"):
            over.set()

    def other() -> None:
        with claimed(plan.store, "EMD-0001"):
            held.set()
            over.wait(60)

    held, thread = threading.Event(), threading.Thread(target=other)
    thread.start()
    held.wait(10)
    with pytest.raises(BusyError, match=rf"EMD-0001 is being worked on .* process {os.getpid()} on "):
        batch_entry.Conductor(plan, None, no_report).conduct("EMD-0001")
    order = [outcome.name for outcome in run_batch(["EMD-0001", "EMD-0002"], plan, report=report)]
    thread.join()
    assert order == ["EMD-0002", "EMD-0001"]
    assert any(f"process {os.getpid()} on " in stage for stage in stages)


def test_a_claim_of_a_run_that_was_killed_is_none(plan: BatchPlan) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom emres.archive.store import Store\n"
        "from emres.run.batch_claim import claimed\n"
        f"with claimed(Store(Path({str(plan.store.path)!r})), 'EMD-0001'):\n print('up', flush=True)\n time.sleep(99)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(BusyError), claimed(plan.store, "EMD-0001"):
            pass
        process.send_signal(signal.SIGKILL)
    with claimed(plan.store, "EMD-0001"):
        pass
    assert list((plan.store.path / FOLDER).iterdir()) == []


def test_a_batch_leaves_nothing_beside_its_results(plan: BatchPlan, tmp_path: Path) -> None:
    statuses(plan, ["EMD-0001", "EMD-9999"])
    assert not (plan.store.path / FOLDER).exists()
    nowhere = replace(plan, store=Store(tmp_path / "nowhere"), fetch=None)
    assert set(statuses(nowhere, ["EMD-0001"]).values()) == {"failed"}
    assert not nowhere.store.path.exists()


# --- what is told of a run -------------------------------------------------------------------------------------------


def test_a_run_tells_how_far_it_is_while_it_goes_on_and_nothing_after_it(plan: BatchPlan) -> None:
    run = run_batch(NAMES, plan)
    next(run)
    next(run)
    time.sleep(2.5)  # it writes every two seconds
    [found] = progress_of(plan.store.path)["runs"]
    assert found["alive"]
    assert found["pid"] == os.getpid()
    assert (found["total"], found["ended"]) == (4, {"done": 2})
    assert found["rate"] > 0
    assert found["left"] > 0
    run.close()
    assert progress_of(plan.store.path)["runs"] == []


def test_a_run_that_was_killed_is_told_as_dead_until_the_next_one_goes_on(plan: BatchPlan) -> None:
    statuses(plan, ["EMD-0001"])
    record = RunRecord("toy", 4)
    with recorded(plan.store, record):
        assert _within(10, lambda: bool(runs_of(plan.store)))
        [path] = (plan.store.path / FOLDER).glob("*.json")
        dead = {**json.loads(path.read_text()), "born": 1.0}
    (plan.store.path / FOLDER / "x-1.json").write_text(json.dumps(dead))
    [found] = runs_of(plan.store)
    assert not found["alive"]
    (plan.store.path / FOLDER / "y-2.json").write_text("{")  # damaged: no news
    assert len(runs_of(plan.store)) == 1
    statuses(plan, ["EMD-0001"])
    assert runs_of(plan.store) == []


def _within(seconds: float, happens: Any) -> bool:
    deadline = time.monotonic() + seconds
    while not happens() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(happens())


# --- room ------------------------------------------------------------------------------------------------------------


def test_fetched_maps_go_when_they_have_served_and_are_not_fetched_again(plan: BatchPlan) -> None:
    fetched: list[str] = []
    bring = plan.fetch
    assert bring is not None

    def counted(name: str, report: Any) -> bool:
        fetched.append(name)
        held = [group.name for group in plan.store if group.has("map")]
        assert len(held) <= 1
        return bring(name, report)

    small = replace(plan, fetch=counted, max_cache=1)
    assert set(statuses(small).values()) == {"done"}
    assert [group.name for group in plan.store if group.has("map")] == []
    assert all(group.has("local_resolution/toy@1") for group in plan.store)
    assert fetched == NAMES
    assert set(statuses(small).values()) == {"skipped"}
    assert planned("EMD-0001", small) == []
    assert plan.export is not None
    (plan.export / "EMD-0001_local_resolution.mrc").unlink()
    assert statuses(small)["EMD-0001"] == "done"
    assert fetched == NAMES


def test_another_model_fetches_a_map_that_has_gone_again(plan: BatchPlan, other_model: Path) -> None:
    small = replace(plan, max_cache=1)
    statuses(small, ["EMD-0001"])
    assert remembered(plan.store.entry("EMD-0001")).exists()
    assert planned("EMD-0001", replace(small, model=str(other_model))) == ["fetch", "predict", "export"]
    assert statuses(replace(small, model=str(other_model)), ["EMD-0001"]) == {"EMD-0001": "done"}


def test_a_map_that_the_user_fetched_stays(plan: BatchPlan) -> None:
    statuses(plan, ["EMD-0001"])
    statuses(replace(plan, max_cache=1), ["EMD-0001", "EMD-0002"])
    assert [group.name for group in plan.store if group.has("map")] == ["EMD-0001"]


# --- what ends a run -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [FullDiskError("the disk is full"), ClusterError("the cluster was lost")])
def test_what_no_entry_is_to_blame_for_ends_the_run_and_is_held_against_none(
    plan: BatchPlan, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(job: Any, *_: Any) -> Any:
        if job.group.name == "EMD-0002":
            raise error
        return real(job)

    real = cluster_job.run_timed
    monkeypatch.setattr(cluster_job, "run_timed", broken)
    run, ended = run_batch(NAMES, plan), []
    with pytest.raises(type(error)):
        ended.extend(run)
    assert [outcome.name for outcome in ended] == ["EMD-0001"]
    assert not (plan.store.path / "failures.jsonl").exists()
    assert not plan.store.entry("EMD-0003").exists()


def test_a_disk_error_of_one_entry_alone_stops_nobody(plan: BatchPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(job: Any, *_: Any) -> Any:
        if job.group.name == "EMD-0002":
            raise StoreError("permission denied")
        return real(job)

    real = cluster_job.run_timed
    monkeypatch.setattr(cluster_job, "run_timed", broken)
    assert statuses(plan) == {name: "failed" if name == "EMD-0002" else "done" for name in NAMES}
