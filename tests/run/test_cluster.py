"""Real worker processes: they are killed, and nothing is lost."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from emres.archive.scratch import DiskScratch
from emres.errors import EmresError, UsageError
from emres.run.blockwise import BlockJob, create_target, run_blocks
from emres.run.cluster import connect, local_workers
from emres.volume.blocks import plan_blocks


@pytest.fixture(scope="module")
def client() -> Iterator:
    with connect("local:2") as client:
        yield client


@dataclass(frozen=True)
class KillsItsWorkerOnce:
    """The first worker that meets the second block dies by SIGKILL, as by the kernel or a walltime."""

    marker: str

    def __call__(self, values: np.ndarray, core: object) -> np.ndarray:
        if values.flat[0] > 0 and not os.path.exists(self.marker):
            Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return values * 2


@dataclass(frozen=True)
class Fails:
    """A block that cannot be computed."""

    def __call__(self, values: np.ndarray, core: object) -> np.ndarray:
        raise EmresError("this block cannot be computed")


def job_in(folder: Path, function) -> tuple[BlockJob, np.ndarray]:
    plan = plan_blocks((128, 64, 64), 64)
    scratch = DiskScratch(folder)
    values = np.arange(np.prod(plan.shape), dtype=np.float32).reshape(plan.shape)
    scratch.create("values", plan.shape, "float32")[...] = values
    job = BlockJob(function, plan, scratch, ("values",), "answer")
    create_target(job)
    return job, values


def test_killed_worker_loses_no_block(client, tmp_path: Path) -> None:
    job, values = job_in(tmp_path / "s", KillsItsWorkerOnce(str(tmp_path / "killed")))
    assert sorted(run_blocks(job, client)) == [(0, 0, 0), (1, 0, 0)]
    assert (tmp_path / "killed").exists()
    assert np.array_equal(job.scratch.open("answer")[...], values * 2)


def page_faults_of_new_memory(megabytes: int) -> int:
    """Of taking, filling and leaving memory for the eleventh time."""

    def fill() -> int:
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        np.ones(megabytes * 2**17)
        return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before

    return [fill() for _ in range(11)][-1]


def test_a_worker_keeps_the_memory_that_it_will_use_again(client) -> None:
    """As Dask starts its workers, every page of it would be asked for anew: 256 pages a megabyte."""
    found = client.submit(page_faults_of_new_memory, 16, pure=False).result()
    assert found < 100


def test_a_block_that_fails_tells_its_reason_and_is_not_marked_done(client, tmp_path: Path) -> None:
    job, _ = job_in(tmp_path / "s", Fails())
    with pytest.raises(EmresError, match="this block cannot be computed"):
        list(run_blocks(job, client))
    assert not job.scratch.open("done")[...].any()


def test_a_dashboard_whose_port_is_taken_at_the_last_moment_goes_elsewhere_without_a_word(monkeypatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr("emres.run.cluster_local.dashboard_address", lambda wanted: f"127.0.0.1:{port}")
        with warnings.catch_warnings(action="error", category=UserWarning), connect("local:1") as client:
            assert f":{port}/" not in client.dashboard_link


def test_the_dashboard_and_the_scheduler_listen_on_this_machine_only(client) -> None:
    assert client.dashboard_link.startswith("http://127.0.0.1:")
    assert client.scheduler.address.startswith("tcp://127.0.0.1:")


def test_a_closed_client_leaves_no_process(tmp_path: Path) -> None:
    with connect("local:1") as client:
        [pid] = client.run(os.getpid).values()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("spec", ["kubernetes", "local:0", "local:x", "missing.json", "tcp:"])
def test_an_unknown_cluster_is_a_usage_error(spec: str) -> None:
    with pytest.raises(UsageError, match="unknown cluster"):
        connect(spec)


def test_a_scheduler_that_does_not_answer_is_told() -> None:
    with pytest.raises(EmresError, match=r"no scheduler answers at tcp://127\.0\.0\.1:1"):
        connect("tcp://127.0.0.1:1", timeout=1)


def test_a_local_cluster_has_no_more_workers_than_tasks() -> None:
    assert local_workers(1) == 1
    assert local_workers() >= 1
