"""One map of the store -> its local-resolution map in the store."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.registry import DEFAULT_MODEL, find_model
from emres.archive.scratch import DiskScratch, MemoryScratch, Scratch, other_folders
from emres.archive.store import CHUNK, LOCAL_RESOLUTION, open_entry
from emres.archive.writer import VolumeWriter
from emres.errors import EmresError
from emres.model.contract import Contract, read_contract
from emres.run.blockwise import BlockJob, blocks_to_do, create_target, run_blocks
from emres.run.jobs import (
    Job,
    Progress,
    check_choices,
    check_map,
    hash_of_facts,
    map_facts,
    mask_facts,
    provenance,
    resolve_device,
)
from emres.run.masks import mask_slabs
from emres.run.prepare import (
    DENSITY,
    NEEDED,
    NO_SIGNAL,
    PREDICTION,
    Summary,
    bytes_in_memory,
    finest_answer,
    marked,
    prepare,
    restore,
)
from emres.volume.blocks import BlockPlan, plan_blocks
from emres.volume.grid import Grid

if TYPE_CHECKING:
    from distributed import Client

    from emres.model.inference import BlockPredictor

# Whole Zarr chunks, whole multiples of any net's 2**levels, and much larger than any halo.
_CORE = 192
_MEMORY = 2 * 2**30  # bytes for the arrays of one map; above it they go to disk
_BOX_MEMORY = 3 * 2**29  # bytes for what the net holds at once


@dataclass(frozen=True)
class PredictJob(Job):
    """Everything a prediction depends on.

    Parameters
    ----------
    entry : Path
        ``STORE/EMD-13939.zarr``.
    model : Path
        Folder of a model bundle.
    kind : str
        Which map of the entry.
    mask : str
        ``auto``, ``contour``, ``none`` or the path of a mask file.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    memory_bytes : int
        What the arrays of one map may take in memory before they are kept on disk.
    """

    model: Path
    kind: str = "map"
    mask: str = "auto"
    device: str = "auto"
    memory_bytes: int = _MEMORY

    @property
    def contract(self) -> Contract:
        """The model's contract."""
        return read_contract(self.model)

    @property
    def result(self) -> str:
        """Where the answer goes: ``local_resolution/<model@version>``, with the half map's name if it is one."""
        suffix = "" if self.kind == "map" else f"+{self.kind}"
        return f"{LOCAL_RESOLUTION}/{self.contract.name_version}{suffix}"

    @property
    def grids(self) -> tuple[Grid, Grid]:
        """The map's grid and the model's."""
        grid = self.group.grid(self.kind)
        return grid, self.contract.working_grid(grid)

    @property
    def in_memory(self) -> bool:
        """Whether this map's arrays fit the memory it may take."""
        return bytes_in_memory(*self.grids) <= self.memory_bytes

    @property
    def plan(self) -> BlockPlan:
        """One block for a map that fits in memory, else blocks of 192 voxels."""
        contract, working = self.contract, self.grids[1]
        multiple = contract.multiple
        whole = max(-(-n // multiple) * multiple for n in working.shape)
        return plan_blocks(working.shape, whole if self.in_memory else _CORE, contract.halo, multiple)

    @property
    def predictor(self) -> BlockPredictor:
        """The function that runs on each block."""
        from emres.model.inference import make_predictor

        return make_predictor(
            self.model,
            working_voxel_size=self.grids[1].voxel_size[0],
            device=resolve_device(self.device),
            memory_bytes=_BOX_MEMORY,
        )

    def fingerprint(self) -> str:
        """Return a hash of everything the result depends on; another hash is another result.

        Raises
        ------
        UsageError
            If the mask file cannot be read.
        """
        contract = self.contract
        facts = {
            "format": 1,
            **map_facts(self.group, self.kind),
            "weights": contract.weights_sha256,
            "contract": [
                contract.name_version,
                contract.voxel_size,
                contract.octaves,
                contract.halo,
                contract.multiple,
                *([contract.cube, contract.normalisation, contract.output] if contract.cube else []),
            ],
            **mask_facts(self.mask, self.contour_level),
        }
        return hash_of_facts(facts)

    def run(self, client: Client | None = None, progress: Progress | None = None) -> dict[str, Any]:
        """Predict: see :func:`predict_entry`."""
        return predict_entry(self, client, progress)


def predict_job(
    entry: Path | str, model: str = DEFAULT_MODEL, *, kind: str = "map", mask: str = "auto", device: str = "auto"
) -> PredictJob:
    """Check a request and return it as a job.

    Parameters
    ----------
    entry : path
        ``STORE/EMD-13939.zarr``.
    model : str
        Name of a model, or the folder of a bundle.
    kind, mask, device
        See :class:`PredictJob`.

    Raises
    ------
    StoreError, UsageError, ModelError, MapError
        If any of it cannot work, before anything is computed.
    """
    check_choices(mask, device)
    group = open_entry(entry)
    check_map(group, kind)
    job = PredictJob(group.path, find_model(model), kind, mask, device)
    job.contract  # noqa: B018 - a broken bundle is told here, not on a worker
    return job


def predict_entry(job: PredictJob, client: Client | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Predict one map of the store, or return what is there if it is this very result.

    An interrupted run goes on at the first block that is not done; a result appears in the store when it is whole.

    Parameters
    ----------
    job : PredictJob
    client : distributed.Client, optional
        Spreads the blocks of a map that does not fit in memory.
    progress : callable, optional
        Called with (blocks done, blocks in all).

    Returns
    -------
    dict
        The attributes of the result (``median``, ``p05``, ``p95`` in Å, ``voxels``, ``model``, …) and ``computed``,
        the number of blocks computed now.
    """
    if job.finished():
        _forget_other_work(job)
        return {**job.group.attributes(job.result), "computed": 0}
    if job.in_memory:
        return _predict(job, MemoryScratch(), None, progress)
    with job.only_here():
        return _predict(job, _disk_scratch(job), client, progress)


def _predict(job: PredictJob, scratch: Scratch, client: Client | None, progress: Progress | None) -> dict[str, Any]:
    blocks = BlockJob(job.predictor, job.plan, scratch, (DENSITY, NEEDED), PREDICTION, f"predict-{job.group.name}")
    if not scratch.notes().get("ready"):
        _make_ready(job, blocks)
    total, computed = len(blocks.plan), 0
    done = total - len(blocks_to_do(blocks))
    for _ in run_blocks(blocks, client):
        computed += 1
        if progress is not None:
            progress(done + computed, total)
    attributes = _finish(job, scratch)
    _clear(job, scratch)
    return {**attributes, "computed": computed}


def _make_ready(job: PredictJob, blocks: BlockJob) -> None:
    source = job.group.pyramid(job.kind)
    try:
        mask = mask_slabs(source, job.mask, job.contour_level)
        contract = job.contract
        prepare(
            source,
            mask,
            job.grids[1],
            blocks.scratch,
            reach=contract.reach,
            normalisation=contract.normalisation,
        )
        create_target(blocks, chunk=math.gcd(_CORE, CHUNK))
    except EmresError:  # an input that cannot be used leaves nothing behind
        _clear(job, blocks.scratch)
        raise
    blocks.scratch.note(ready=True)


def _clear(job: PredictJob, scratch: Scratch) -> None:
    scratch.clear()
    job.group.tidy()


def _disk_scratch(job: PredictJob) -> DiskScratch:
    name = f"{_work_prefix(job)}-{job.fingerprint()[:16]}-{_CORE}"
    _forget_other_work(job, name)
    return DiskScratch(job.group.work / name)


def _work_prefix(job: PredictJob) -> str:
    return job.result.replace("/", "+")


def _forget_other_work(job: PredictJob, keep: str = "") -> None:
    """Remove what earlier runs left of this result, except what this one can go on with."""
    for stale in other_folders(job.group.work, _work_prefix(job), keep):
        DiskScratch(stale).clear()
    job.group.tidy()


def _finish(job: PredictJob, scratch: Scratch) -> dict[str, Any]:
    grid, working = job.grids
    summary, density = Summary(), job.group.array(job.kind)
    with VolumeWriter(job.group, job.result, grid) as writer:
        for box, resolution in restore(scratch, grid, working, 0 if job.contract.cube else finest_answer(grid)):
            if job.contract.cube:
                resolution = marked(resolution, np.asarray(density[box.slices]))
            summary.add(np.where(resolution == NO_SIGNAL, 0, resolution) if job.contract.cube else resolution)
            writer.add(0, resolution)
        attributes = {
            "fingerprint": job.fingerprint(),
            **provenance(job.mask),
            "model": job.contract.name_version,
            "weights_sha256": job.contract.weights_sha256,
            "source_kind": job.kind,
            "normalisation": {key: scratch.notes()[key] for key in ("centre", "scale")},
            "working_voxel_size": working.voxel_size[0],
            "mrc_header": job.group.attributes(job.kind).get("mrc_header"),
            **summary.result(),
        }
        writer.commit(attributes)
    return attributes
