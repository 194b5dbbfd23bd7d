"""Who is to blame when workers die or never come: the map that kills them, the cluster, and nobody else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster

from emres.archive.mrc_write import write_mrc
from emres.archive.store import EntryGroup, Store
from emres.run.batch import BatchPlan, run_batch
from emres.run.cluster import connect
from emres.run.cluster_crew import crew_of
from emres.run.cluster_tasks import Call, ClusterError, run_calls
from emres.run.ingest import import_map
from emres.run.jobs import Job
from emres.run.predict import PredictJob
from emres.volume.grid import Grid, make_volume
from tests.run.conftest import toy_density

GRID = Grid((24, 28, 32), (2.1, 2.1, 2.1))


class KillingJob(PredictJob):
    """Ends the process that computes it, as a crash of a library or the kernel's killer would."""

    def run(self, client: Client | None = None, progress: Any = None) -> dict[str, Any]:
        time.sleep(0.3)  # so that others come to lie on the same worker
        os._exit(1)


@dataclass(frozen=True)
class PoisonedPlan(BatchPlan):
    """A batch one of whose maps kills its worker."""

    poison: str = ""

    def job(self, group: EntryGroup) -> Job:
        job = super().job(group)
        assert isinstance(job, PredictJob)
        return KillingJob(job.entry, job.model) if group.name == self.poison else job


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("tasks")
    file = write_mrc(folder / "toy.mrc", make_volume(toy_density(GRID), GRID))
    store = Store(folder / "store")
    for number in range(5):
        import_map(file, store, f"map-{number}")
    return store


def test_a_map_that_kills_its_workers_fails_alone_and_its_neighbours_never(store: Store, toy_model: Path) -> None:
    names = [group.name for group in store]
    with connect("local:2") as client:
        plan = PoisonedPlan(store, str(toy_model), poison="map-3")
        outcomes = {outcome.name: outcome for outcome in run_batch(names, plan, client)}
    assert {name for name, outcome in outcomes.items() if outcome.status == "failed"} == {"map-3"}
    assert "the work on map-3 kills its workers" in outcomes["map-3"].reason
    assert {outcomes[name].status for name in names if name != "map-3"} == {"done"}


@pytest.fixture
def impatient() -> Iterator[None]:
    with dask.config.set({"distributed.scheduler.no-workers-timeout": "2s"}):
        yield


@pytest.mark.parametrize("workers", [0, 1])
def test_no_worker_that_fits_is_an_error_after_a_while_and_not_silence(impatient: None, workers: int) -> None:
    options = {"threads_per_worker": 1, "processes": False, "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with LocalCluster(n_workers=workers, **options) as cluster, Client(cluster) as client:
        crew_of(client)._gpus = bool(workers)  # there was a worker with a GPU, which has gone
        start = time.monotonic()
        with pytest.raises(ClusterError, match=r"no worker of the cluster fits the work: got \d workers, none") as told:
            list(run_calls(client, [Call("sum-1", sum, ([1, 2],), "map-0")], device="auto"))
        assert 1 < time.monotonic() - start < 30
        assert ("with a GPU" in str(told.value)) == bool(workers)
        if workers:  # the work of another device goes on
            assert list(run_calls(client, [Call("sum-2", sum, ([1, 2],), "map-0")], device="cpu")) == [3]
