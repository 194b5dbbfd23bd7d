"""What a batch costs beside the work itself: many entries of a few voxels, with a net of one channel."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import dask
import torch

from benchmarks.maps import ball_entry
from benchmarks.memory import peak_bytes
from benchmarks.report import Row
from emres.archive.registry import find_model
from emres.archive.store import Store
from emres.model.bundle import build_net, save_bundle
from emres.model.contract import LOG_VOXELS, read_contract
from emres.run.batch import BatchPlan, run_batch
from emres.run.cluster_local import KEEPING_MEMORY

COUNTS = {"small": (4,), "full": (100, 1000), "large": (100, 1000, 10_000)}
SIDE, VOXEL_SIZE = 16, 4.0
THREADS = 16
WANTED = 20.0  # ms an entry


def measure(size: str) -> list[Row]:
    """Return the wall time of an entry in batches of several lengths."""
    from distributed import Client, LocalCluster

    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, names = null_model(folder / "null"), copies(folder / "store", 1 + sum(COUNTS[size]))
        # As emres.connect starts its workers, but for the threads.
        dask.config.set(KEEPING_MEMORY)
        cluster = LocalCluster(n_workers=1, threads_per_worker=THREADS, processes=True, dashboard_address=None)
        with cluster, Client(cluster) as client:
            plan = BatchPlan(Store(folder / "store"), str(model), mask="none", device="cpu")
            list(run_batch([names.pop()], plan, client))  # the worker has loaded torch and the net
            # Others for every batch: ext4 without a journal takes five to ten times as long to make a file where some
            # were removed within the last minutes, and a batch would pay for what the benchmark has removed.
            for count in COUNTS[size]:
                rows.append(_row(plan, [names.pop() for _ in range(count)], client))
    return rows


def _row(plan: BatchPlan, names: Sequence[str], client: object) -> Row:
    start, ends, before = time.perf_counter(), [], peak_bytes()
    for outcome in run_batch(names, plan, client):  # type: ignore[arg-type]
        assert outcome.status != "failed", outcome
        ends.append(time.perf_counter() - start)
    how = (
        f"{len(names) / ends[-1]:.0f} entries/s, the first after {ends[0]:.2f} s, {THREADS} threads; "
        f"{(peak_bytes() - before) / 2**20:.0f} MiB more in the process of client and scheduler"
    )
    return Row(f"{len(names)} entries, null model: an entry", 1000 * ends[-1] / len(names), WANTED, "ms", how)


def null_model(folder: Path) -> Path:
    """Save a net of one channel: next to nothing to compute."""
    arguments = {"channels": 1, "deep_channels": 1, "deep_layers": 1}
    torch.manual_seed(0)
    contract = replace(
        read_contract(find_model()),
        name="null",
        architecture="compact_unet",
        arguments=arguments,
        voxel_size=VOXEL_SIZE,
        halo=16,
        output=LOG_VOXELS,
        training={},
        familiar={},
    )
    save_bundle(folder, build_net(contract.architecture, arguments), contract, "Random weights, for timing only.")
    return folder


def copies(store: Path, count: int) -> list[str]:
    """Fill a store with copies of one small entry and return their names."""
    first = ball_entry(store, SIDE, VOXEL_SIZE, share=0.5)
    names = [f"ball-{number}" for number in range(1000, 1000 + count)]
    for name in names:
        shutil.copytree(first.path, store / f"{name}.zarr")
    return names
