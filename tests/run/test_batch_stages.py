"""The stages of different entries overlap, each within a limit of its own."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from emres.archive.store import EntryGroup, Store
from emres.errors import EmresError
from emres.run.batch import BatchPlan, run_batch
from emres.run.batch_entry import Stage
from emres.run.cluster import connect
from emres.run.fetch import MOST_JOBS
from emres.run.ingest import import_map
from emres.run.jobs import Job
from emres.run.outcome import Report
from emres.run.predict import PredictJob
from tests.run.test_cluster_started import until

NAMES = [f"EMD-000{number}" for number in range(7)]


class WaitingJob(PredictJob):
    """The first prediction to begin goes on when four maps are there, the third when one has been exported."""

    def run(self, client: Client | None = None, progress: Any = None) -> dict[str, Any]:
        folder = self.entry.parents[1]
        (folder / f"began-{self.entry.stem}").touch()
        begun = len(list(folder.glob("began-*")))
        wanted, most = {1: ("store/*/map/zarr.json", 4), 3: ("out/EMD*.mrc", 1)}.get(begun, ("store", 1))
        if not until(lambda: len(list(folder.glob(wanted))) >= most, 60):
            raise EmresError(f"nothing else went on meanwhile: there are not {most} {wanted}")
        return super().run(client, progress)


class WaitingPlan(BatchPlan):
    """A batch of such."""

    def job(self, group: EntryGroup) -> Job:
        job = super().job(group)
        assert isinstance(job, PredictJob)
        return WaitingJob(job.entry, job.model)


@dataclass
class Archive:
    """Brings the same map under every name, slowly, and counts how many are under way."""

    file: Path
    store: Store
    lock: threading.Lock = field(default_factory=threading.Lock)
    now: int = 0
    most: int = 0

    def fetch(self, name: str, report: Report) -> bool:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.3)
        import_map(self.file, self.store, name)
        with self.lock:
            self.now -= 1
        return True


@pytest.mark.parametrize("workers", [1, 3])
def test_maps_are_fetched_and_exported_while_others_are_predicted(
    workers: int, toy_map: Path, toy_model: Path, tmp_path: Path
) -> None:
    archive = Archive(toy_map, Store(tmp_path / "store"))
    plan = WaitingPlan(archive.store, str(toy_model), export=tmp_path / "out", fetch=archive.fetch)
    with connect(f"local:{workers}") as client:
        outcomes = list(run_batch(NAMES, plan, client))
    assert {outcome.name: outcome.reason for outcome in outcomes} == dict.fromkeys(NAMES, "")
    assert 1 < archive.most <= MOST_JOBS


def test_a_stage_takes_as_many_as_it_may_also_where_that_changes() -> None:
    most = [1]
    stage = Stage(lambda: most[0])
    assert stage.enter(0.01)
    assert not stage.enter(0.01)
    most[0] = 2
    assert stage.enter(0.01)
    most[0] = 1
    stage.leave()
    assert not stage.enter(0.01)
    stage.leave()
    assert stage.enter(0.01)
