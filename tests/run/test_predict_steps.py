"""What comes before and after the blocks of a big map: on workers, once, and never under the feet of another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, Scheduler, SpecCluster, Worker, get_worker

from emres.archive.disk import only_writer
from emres.archive.scratch import DiskScratch
from emres.archive.store import EntryGroup
from emres.errors import BusyError, MapError
from emres.run import finish, predict, predict_steps
from emres.run.cluster import connect
from emres.run.cluster_tasks import Call, run_step
from emres.run.predict import PredictJob, predict_entry, predict_job
from emres.run.predict_steps import prepare_map


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with connect("local:1") as client:
        yield client


@pytest.fixture
def job(entry: EntryGroup, toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> PredictJob:
    monkeypatch.setattr(predict, "_CORE", 32)
    return replace(predict_job(entry.path, str(toy_model)), memory_bytes=0)


@pytest.fixture
def scratch(job: PredictJob) -> DiskScratch:
    return DiskScratch(job.group.work / "a-prediction")


def never(*_: Any, **__: Any) -> None:
    raise AssertionError("this is not to be done here")


def prepare_here(job: PredictJob, scratch: DiskScratch) -> None:
    prepare_map(job, scratch, None, lambda: None)


def test_workers_prepare_and_finish_a_big_map_and_the_client_neither(
    job: PredictJob, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_entry(job)
    alone = np.asarray(job.group.array(job.result)[...])
    job.group.path.joinpath("local_resolution").rename(job.group.path.parent / "alone")
    monkeypatch.setattr(predict_steps, "prepare_for", never)
    monkeypatch.setattr(finish, "VolumeWriter", never)
    assert predict_entry(job, client)["computed"] == len(job.plan) > 1
    assert np.array_equal(job.group.array(job.result)[...], alone)
    assert not job.group.work.exists()


def test_a_map_that_cannot_be_used_is_told_from_a_worker_and_leaves_nothing(job: PredictJob, client: Client) -> None:
    job.group.path.joinpath("map/scale0/density/c").rename(job.group.path.parent / "chunks")  # all zeros now
    with pytest.raises(MapError, match="mask"):
        predict_entry(job, client)
    assert not job.group.work.exists()


def test_what_is_prepared_is_not_prepared_again(
    job: PredictJob, scratch: DiskScratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a worker that was taken for dead, say, and goes on when another has done it and blocks are computed."""
    prepare_here(job, scratch)
    monkeypatch.setattr(predict_steps, "prepare_for", never)
    prepare_here(job, scratch)


def test_while_one_prepares_another_is_told_and_touches_nothing(job: PredictJob, scratch: DiskScratch) -> None:
    prepare_here(job, scratch)
    scratch.note(prepared=False)
    with only_writer(scratch.folder), pytest.raises(BusyError, match="another run"):
        prepare_here(job, scratch)
    assert np.asarray(scratch.open("needed")[...]).any()


def worker() -> str:
    """Return the name of the worker that this runs on."""
    try:
        return str(get_worker().name)
    except ValueError:
        return "client"


@pytest.mark.parametrize(
    ("gpus", "places"), [((False, False), {"0", "1"}), ((True, True), {"client"}), ((True, False, True), {"1"})]
)
def test_a_step_that_needs_no_gpu_goes_to_no_worker_that_has_one(gpus: tuple[bool, ...], places: set[str]) -> None:
    """Where every worker has one it is done by the client, so that no GPU waits."""
    workers = {
        number: {"cls": Worker, "options": {"nthreads": 1, "dashboard": False, "resources": {"GPU": 1} if gpu else {}}}
        for number, gpu in enumerate(gpus)
    }
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}}
    with SpecCluster(workers, scheduler, silence_logs=50) as cluster, Client(cluster) as client:
        client.wait_for_workers(len(gpus))
        assert {run_step(client, Call(f"where-{number}", worker, (), "a")) for number in range(6)} <= places
