"""What a second worker brings: a batch with the model that ships, on one worker and on two, a core each."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.maps import ball_entry
from benchmarks.prediction_overhead import forget
from benchmarks.report import Row
from emres.archive.registry import find_model
from emres.archive.store import Store
from emres.model.bundle import open_bundle
from emres.model.contract import read_contract
from emres.run.batch import BatchPlan, run_batch
from emres.run.cluster import connect

if TYPE_CHECKING:
    from distributed import Client

# Voxels a side, entries, batches on each. Boxes of the archive have 200 to 400 voxels a side; a smaller map is over so
# soon that what the client does between two of them weighs. A molecule fills 4 % of the whole entries at hand (median).
SIZES = {"small": (32, 4, 1), "full": (200, 8, 3), "large": (256, 12, 3)}
SHARE = 0.04
MOST = 1 / 0.9  # of half the time of one worker: an efficiency of 0.9


def measure(size: str) -> list[Row]:
    """Return the time of a batch on two workers over half of that on one."""
    side, entries, repeats = SIZES[size]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = ball_entry(folder / "store", side, read_contract(find_model()).voxel_size, SHARE)
        for number in range(1, entries):
            shutil.copytree(first.path, first.path.with_name(f"ball-{number:03d}.zarr"))
        plan = BatchPlan(Store(folder / "store"), device="cpu")
        taken: dict[int, list[Taken]] = {1: [], 2: []}
        with connect(_spec(folder, 1)) as one, connect(_spec(folder, 2)) as two:
            for client, workers in ((one, 1), (two, 2)):
                client.wait_for_workers(workers)  # a client comes with its first
                client.run(_loaded, find_model())
                for core, address in enumerate(sorted(client.scheduler_info(n_workers=-1)["workers"])):
                    client.run(_kept_to, core, workers=[address])
                _batch(plan, client)
            for _ in range(repeats):  # in turns: whatever else the machine does meets both alike
                taken[1].append(_batch(plan, one))
                taken[2].append(_batch(plan, two))
    alone, together = (Taken(*map(statistics.median, zip(*taken[workers], strict=True))) for workers in (1, 2))
    how = (
        f"{alone.wall:.2f} s on one, {together.wall:.2f} s on two, a core each: efficiency "
        f"{alone.wall / 2 / together.wall:.2f}; of processor {alone.workers:.2f} and {together.workers:.2f} s in "
        f"workers, {alone.client:.2f} and {together.client:.2f} s in client and scheduler"
    )
    what = f"{entries} maps of {side}^3, emres-small: two workers / half of one"
    return [Row(what, 2 * together.wall / alone.wall, MOST, how=how)]


class Taken(NamedTuple):
    """Seconds of a batch: on the clock, and of processor in the workers and in the process of client and scheduler."""

    wall: float
    workers: float
    client: float


def _loaded(model: Path) -> None:
    """Have torch in a worker, whether or not a map of the first batch comes its way."""
    open_bundle(model)


def _kept_to(core: int) -> None:
    """Keep a worker to one core, with the threads that read ahead and write behind: alone it would use two."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), {cores[core % len(cores)]})


def _spec(folder: Path, workers: int) -> str:
    path = folder / f"{workers}.toml"
    path.write_text(f'cluster = "local"\nworkers = {workers}\nthreads = 1\n')
    return str(path)


def _batch(plan: BatchPlan, client: Client) -> Taken:
    """Predict all anew, and return what that took."""
    for group in plan.store:
        forget(group)
    away, here, start = _processor(client), time.process_time(), time.perf_counter()
    failed = [outcome for outcome in run_batch([group.name for group in plan.store], plan, client) if outcome.reason]
    assert not failed, failed
    return Taken(time.perf_counter() - start, _processor(client) - away, time.process_time() - here)


def _processor(client: Client) -> float:
    """Return the seconds of processor that the workers have taken so far."""
    return float(sum(client.run(time.process_time).values()))
