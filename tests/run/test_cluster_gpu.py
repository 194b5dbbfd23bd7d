"""Pinned workers without a GPU: a pretended device list, real batches, and a worker without a GPU beside them."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from emres.archive.mrc_write import write_mrc
from emres.archive.store import EntryGroup, Store
from emres.run import predict
from emres.run.batch import BatchPlan, run_batch
from emres.run.blockwise import BlockFunction
from emres.run.cluster import connect
from emres.run.cluster_crew import crew_of
from emres.run.ingest import import_map
from emres.volume.grid import Grid, make_volume
from tests.run.conftest import toy_density
from tests.run.test_cluster_started import until

GRID = Grid((32, 32, 32), (2.0, 2.0, 2.0))
MAPS = 5


@dataclass(frozen=True)
class Watched:
    """A block function that notes where it runs, and how many nets its process has opened."""

    function: Any
    log: str

    def __call__(self, *arrays: Any, core: Any) -> Any:
        from emres.model import inference

        found = self.function(*arrays, core=core)
        nets = [id(net) for net, _ in inference._nets.values()]
        line = {"device": os.environ.get("CUDA_VISIBLE_DEVICES"), "pid": os.getpid(), "nets": nets}
        with open(self.log, "a") as file:
            file.write(json.dumps(line) + "\n")
        return found

    def told(self, condition: Any) -> Watched:
        return Watched(self.function.told(condition), self.log)


@dataclass(frozen=True)
class WatchedJob(predict.PredictJob):
    log: str = ""

    @property
    def predictor(self) -> BlockFunction:
        return Watched(super().predictor, self.log)


@dataclass(frozen=True)
class WatchedPlan(BatchPlan):
    log: str = ""

    def job(self, group: EntryGroup) -> WatchedJob:
        job = super().job(group)
        return WatchedJob(**{field.name: getattr(job, field.name) for field in fields(job)}, log=self.log)


def seen() -> tuple[str | None, int]:
    return os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()


async def added(address: str, nanny: Any) -> Any:
    """Add a worker without a GPU."""
    return await nanny(address, nthreads=2, host="127.0.0.1", env={"CUDA_VISIBLE_DEVICES": "none"}, silence_logs=50)


@pytest.fixture
def mixed() -> Iterator[Any]:
    """Two workers with GPUs 6 and 7, and one with none that would take two tasks at once."""
    from distributed import Nanny

    with connect("gpu:6,7") as client:
        plain = client.cluster.sync(added, client.cluster.scheduler.address, Nanny)
        yield client
        client.cluster.sync(plain.close)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    for seed in range(MAPS):
        path = write_mrc(tmp_path / f"m{seed}.mrc", make_volume(toy_density(GRID, seed), GRID))
        import_map(path, store, f"m{seed}")
    return store


def test_200_tasks_run_on_their_gpus_alone_over_a_kill_and_each_worker_loads_the_model_once(
    mixed: Any, store: Store, toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    plan = WatchedPlan(store, str(toy_model), mask="none", log=str(log))

    def tasks() -> list[dict[str, Any]]:
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    before = dict(mixed.run(seen).values())
    assert set(before) == {"6", "7", "none"}
    assert {outcome.status for outcome in run_batch(["m0", "m1"], plan, mixed)} == {"done"}  # whole maps
    os.kill(before["7"], signal.SIGKILL)
    assert crew_of(mixed).resources("auto") == {"GPU": 1}  # also while one of them is away
    assert until(lambda: dict(mixed.run(seen, on_error="ignore").values()).get("7") not in (None, before["7"]))
    offered = [each["resources"] for each in mixed.scheduler_info(n_workers=-1)["workers"].values()]
    assert sorted(map(str, offered)) == ["{'GPU': 1}", "{'GPU': 1}", "{}"]
    monkeypatch.setattr(predict.PredictJob, "in_memory", False)  # blocks
    monkeypatch.setattr(predict, "_CORE", 8)
    assert {outcome.status for outcome in run_batch(["m2", "m3", "m4"], plan, mixed)} == {"done"}

    found = tasks()
    assert len(found) >= 190
    assert set(Counter(task["device"] for task in found)) == {"6", "7"}
    for pid in {task["pid"] for task in found}:
        assert len({tuple(task["nets"]) for task in found if task["pid"] == pid}) == 1
        assert len({task["device"] for task in found if task["pid"] == pid}) == 1


def test_work_for_the_cpu_may_run_anywhere(mixed: Any) -> None:
    assert crew_of(mixed).resources("cpu") == {}
    assert crew_of(mixed).threads() == 4
