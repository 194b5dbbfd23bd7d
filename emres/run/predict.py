"""One map of the store -> its local-resolution map in the store."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emres.archive.attributes import LOCAL_RESOLUTION, UNCERTAINTY
from emres.archive.known import KnownGroup
from emres.archive.registry import DEFAULT_MODEL, find_model
from emres.archive.scratch import DiskScratch, MemoryScratch, Scratch, other_folders
from emres.archive.store import CHUNK, open_entry
from emres.errors import UsageError
from emres.model.contract import Contract, read_contract
from emres.model.memory import Room, room_in
from emres.run.blockwise import BlockJob, blocks_to_do, create_target, run_blocks
from emres.run.jobs import (
    Job,
    Progress,
    absolute_mask,
    check_choices,
    check_map,
    hash_of_facts,
    map_facts,
    mask_facts,
)
from emres.run.map_spectra import check_told, inputs_of, reported_resolution
from emres.run.predict_steps import clear, finish_map, prepare_map
from emres.run.prepare import (
    PREDICTION,
    SPREAD,
    bytes_in_memory,
)
from emres.volume.blocks import BlockPlan, plan_blocks
from emres.volume.grid import Grid, Shape

if TYPE_CHECKING:
    from distributed import Client

    from emres.model.inference import BlockPredictor

# Whole Zarr chunks, whole multiples of any net's 2**levels, and much larger than any halo.
_CORE = 192
_ROOM = Room()


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
    blind : bool
        Tell the net nothing but the map, though the resolution its authors report is known.
    resolution : float, optional
        Å; what the net is told in place of what the entry reports.
    box_bytes : int
        What the net may take at once, where it is not on a GPU.
    """

    model: Path
    kind: str = "map"
    mask: str = "auto"
    device: str = "auto"
    memory_bytes: int = _ROOM.arrays
    blind: bool = False
    resolution: float | None = None
    box_bytes: int = _ROOM.box

    @cached_property
    def contract(self) -> Contract:
        """The model's contract."""
        return read_contract(self.model)

    @property
    def result(self) -> str:
        """Where the answer goes: ``local_resolution/<model@version>``, with the half map's name if it is one."""
        suffix = "" if self.kind == "map" else f"+{self.kind}"
        blind = "+blind" if self.blind and self.contract.conditioned else ""
        return f"{LOCAL_RESOLUTION}/{self.contract.name_version}{suffix}{blind}"

    @property
    def uncertainty(self) -> str | None:
        """Where the uncertainty goes, if the model tells one."""
        return self.result.replace(LOCAL_RESOLUTION, UNCERTAINTY, 1) if self.contract.conditioned else None

    @property
    def reported(self) -> float | None:
        """The resolution of the whole map that its authors report, Å, if the net is to be told."""
        if self.blind or not self.contract.conditioned:
            return None
        # What is reported is of the average of the half maps, not of one of them.
        return reported_resolution(self.source) if self.resolution is None and self.kind == "map" else self.resolution

    @cached_property
    def grids(self) -> tuple[Grid, Grid]:
        """The map's grid and the model's."""
        grid = self.source.grid(self.kind)
        return grid, self.contract.working_grid(grid)

    @property
    def in_memory(self) -> bool:
        """Whether this map's arrays fit the memory it may take."""
        return bytes_in_memory(*self.grids) <= self.memory_bytes

    def within(self, memory_bytes: float | None) -> PredictJob:
        """Return the job for a process that may take so much: a whole map or blocks, and boxes that fit."""
        room = room_in(memory_bytes)
        return replace(self, memory_bytes=room.arrays, box_bytes=room.box)

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
            device=self.device,
            memory_bytes=self.box_bytes,
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
            **map_facts(self.source, self.kind),
            "weights": contract.weights_sha256,
            "contract": [
                contract.name_version,
                contract.voxel_size,
                contract.octaves,
                *([contract.steps, contract.spread_factor] if contract.conditioned else []),
                contract.halo,
                contract.multiple,
                *([contract.cube, contract.normalisation, contract.output] if contract.cube else []),
            ],
            **({"reported": self.reported} if contract.conditioned else {}),
            **mask_facts(self.mask, self.contour_level),
        }
        return hash_of_facts(facts)

    def run(self, client: Client | None = None, progress: Progress | None = None) -> dict[str, Any]:
        """Predict: see :func:`predict_entry`."""
        return predict_entry(self, client, progress)


def predict_job(
    entry: Path | str,
    model: str = DEFAULT_MODEL,
    *,
    kind: str = "map",
    mask: str = "auto",
    device: str = "auto",
    blind: bool = False,
    resolution: float | None = None,
) -> PredictJob:
    """Check a request and return it as a job.

    Parameters
    ----------
    entry : path
        ``STORE/EMD-13939.zarr``.
    model : str
        Name of a model, or the folder of a bundle.
    kind, mask, device, blind, resolution
        See :class:`PredictJob`.

    Raises
    ------
    StoreError, UsageError, ModelError, MapError
        If any of it cannot work, before anything is computed.
    """
    check_choices(mask, device)
    if blind and resolution is not None:
        raise UsageError("a blind prediction is told no resolution", cure="leave one of the two out")
    group = open_entry(entry)
    check_map(KnownGroup(group.path), kind)
    place, net = group.path.absolute(), find_model(model).absolute()  # a worker may be in another folder
    job = PredictJob(place, net, kind, absolute_mask(mask), device, blind=blind, resolution=resolution)
    check_told(job.contract, resolution)  # a broken bundle is told here, not on a worker
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
    finished: list[Shape] = []
    done = total = 0

    def tell() -> None:
        if progress is not None:
            progress(done + len(finished), total)

    ready = scratch.notes().get("ready")
    if not ready:
        prepare_map(job, scratch, client, tell)
    blocks = _block_job(job, scratch)
    if not ready:
        create_target(blocks, chunk=math.gcd(_CORE, CHUNK))
        scratch.note(ready=True)
    total = len(blocks.plan)
    done = total - len(blocks_to_do(blocks))
    for index in run_blocks(blocks, client, device=job.device, tick=tell):
        finished.append(index)
        tell()
    attributes = finish_map(job, scratch, client, tell)
    clear(job, scratch)
    return {**attributes, "computed": len(finished)}


def _block_job(job: PredictJob, scratch: Scratch) -> BlockJob:
    predictor = job.predictor.told(scratch.notes().get("condition", ()))
    also = (SPREAD,) if job.uncertainty else ()
    return BlockJob(
        predictor, job.plan, scratch, inputs_of(job.contract), PREDICTION, f"predict-{job.group.name}", also
    )


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
