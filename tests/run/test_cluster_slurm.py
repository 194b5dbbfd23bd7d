"""A real SLURM: jobs are refused, cancelled and killed by walltime, clients are stopped, and no job is left."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from emres.archive.store import EntryGroup, Store
from emres.errors import EmresError
from emres.run.batch import BatchPlan, run_batch
from emres.run.cluster import connect
from emres.run.cluster_check import worker_facts
from emres.run.ingest import import_map
from emres.run.jobs import Job
from emres.run.predict import PredictJob
from tests.run.test_cluster_started import gone, until
from tests.run.test_real_maps import MAPS, ids, table
from tests.slurm import NoSlurmError
from tests.slurm import slurm as running_slurm

pytestmark = pytest.mark.peer

# Real maps of up to half a million voxels.
SMALL = [row["file"] for row in table() if math.prod(map(int, row["shape_zyx"].split("x"))) < 500_000]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    try:
        with running_slurm(tmp_path_factory.mktemp("slurm")):
            yield
    except NoSlurmError as reason:
        pytest.skip(str(reason))


@pytest.fixture
def slurm(engine: None, tmp_path: Path) -> str:
    (tmp_path / "shared").mkdir()
    return f"slurm:threads=1,memory=2GB,walltime=00:10:00,shared_folder={tmp_path}/shared"


def queue() -> list[str]:
    asked = subprocess.run(["squeue", "--noheader", "--format=%i %T"], capture_output=True, text=True, check=True)
    return asked.stdout.split("\n")[:-1]


def state(job: str) -> str:
    asked = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=False)
    return asked.stdout.partition("JobState=")[2].partition(" ")[0]


def test_a_partition_that_slurm_refuses_is_told_and_leaves_nothing(slurm: str, tmp_path: Path) -> None:
    with pytest.raises(EmresError, match="Invalid partition name"):
        connect(f"{slurm},partition=missing")
    assert list((tmp_path / "shared").iterdir()) == []


@pytest.mark.long
def test_a_job_that_is_killed_is_submitted_again_and_none_is_left(slurm: str, tmp_path: Path) -> None:
    def pids() -> set[int]:
        return set(client.run(os.getpid, on_error="ignore").values())

    with connect(f"{slurm},jobs=2") as client:
        assert client.scheduler.address.startswith("tls://")
        assert until(lambda: len(pids()) == 2)
        [folder] = (tmp_path / "shared").iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        killed = queue()[0].split()[0]
        before = pids()
        subprocess.run(["scancel", killed], check=True)
        assert until(lambda: len(pids() - before) == 1 and len(pids()) == 2, 120)
        assert client.submit(worker_facts, pure=False).result()["threads"] == 1
    assert until(lambda: queue() == [], 30)
    assert list((tmp_path / "shared").iterdir()) == []


@pytest.mark.long
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_a_client_that_is_stopped_leaves_no_job_and_the_next_start_no_folder(
    slurm: str, tmp_path: Path, by: int
) -> None:
    script = (
        f"import time\nfrom emres import connect\nwith connect({slurm!r}):\n print('up', flush=True)\n time.sleep(99)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        assert client.stdout is not None
        assert client.stdout.readline().strip() == b"up"
        client.send_signal(by)
    assert until(lambda: queue() == [], 60)
    left = list((tmp_path / "shared").iterdir())
    assert len(left) == (by == signal.SIGKILL)
    with pytest.raises(EmresError, match="Invalid partition name"):
        connect(f"{slurm},partition=missing")
    assert list((tmp_path / "shared").iterdir()) == []


class HeldJob(PredictJob):
    """Notes which job of SLURM is at it, and goes on when it may: so it is under way when its worker is killed."""

    def run(self, client: Client | None = None, progress: Any = None) -> dict[str, Any]:
        book = self.entry.parent.parent / "book"
        (book / f"{self.entry.stem} {os.environ['SLURM_JOB_ID']}").touch()
        assert until((book / "go on").exists, 240)
        return super().run(client, progress)


class HeldPlan(BatchPlan):
    """A batch whose second copies are held."""

    def job(self, group: EntryGroup) -> Job:
        job = super().job(group)
        assert isinstance(job, PredictJob)
        return HeldJob(job.entry, job.model) if group.name.startswith("b-") else job


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:.*cell that is not orthogonal")
@pytest.mark.skipif(not MAPS.is_dir(), reason="the shared real maps are not at hand")
def test_real_maps_all_come_though_a_job_is_killed_by_its_walltime(slurm: str, tmp_path: Path) -> None:
    store, book, killed = Store(tmp_path / "store"), tmp_path / "book", []
    book.mkdir()
    for copy in "ab":
        for file in SMALL:
            import_map(MAPS / file, store, f"{copy}-{ids()[file]}")
    names = [group.name for group in store]

    def kill() -> None:
        """Give one of two running jobs a walltime of a minute, the shortest that SLURM knows, and see it die."""
        assert until(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == 2, 120)
        job = queue()[0].split()[0]
        subprocess.run(["scontrol", "update", f"JobId={job}", "TimeLimit=1"], check=True)
        killed.append(job)
        assert until(lambda: state(job) == "TIMEOUT", 240), state(job)
        assert until(lambda: job not in {line.split()[0] for line in queue()}, 60)
        (book / "go on").touch()

    with connect(f"{slurm},jobs=2") as client, ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill)
        outcomes = {each.name: each for each in run_batch(names, HeldPlan(store, export=tmp_path / "out"), client)}
        killing.result()
        pids = list(client.run(os.getpid, on_error="ignore").values())
    assert {outcome.status for outcome in outcomes.values()} == {"done"}, outcomes
    assert len(list((tmp_path / "out").glob("*.mrc"))) == len(names)
    lost = [mark.name.split()[0] for mark in book.glob(f"b-* {killed[0]}")]
    assert lost, "nothing was under way in the job that was killed"
    assert all(len(list(book.glob(f"{name} *"))) > 1 for name in lost)  # another job did it
    for file in SMALL:  # whoever computed them
        assert len({outcomes[f"{copy}-{ids()[file]}"].facts["median"] for copy in "ab"}) == 1, file
    assert until(lambda: queue() == [], 60)
    assert until(lambda: all(map(gone, pids)), 30)
    assert list((tmp_path / "shared").iterdir()) == []
