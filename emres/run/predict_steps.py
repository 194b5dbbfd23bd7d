"""What a prediction does before its blocks and after them, for a map that goes by blocks: on workers, too.

Of a big map in whose box little is molecule, this takes as long as the net does. It needs no GPU, so it goes to workers
that have none; where every worker has one, it is done by the client, so that none waits with a GPU in its hand.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from emres.archive.disk import disk_errors, only_writer
from emres.archive.scratch import DiskScratch, Scratch
from emres.errors import BusyError, EmresError
from emres.run.blockwise import task_name
from emres.run.finish import finish
from emres.run.map_spectra import prepare_for
from emres.run.masks import mask_slabs

if TYPE_CHECKING:
    from distributed import Client

    from emres.run.predict import PredictJob

Tick = Callable[[], None]


def prepare_map(job: PredictJob, scratch: Scratch, client: Client | None, tick: Tick) -> None:
    """Bring a map to the model's grid, wherever there is a place for it.

    Parameters
    ----------
    job : PredictJob
    scratch : Scratch
        Receives what :func:`emres.run.prepare.prepare` writes, and what the net is told.
    client : distributed.Client, optional
    tick : callable
        Called every second while a worker is at it; may raise to end the run.

    Raises
    ------
    BusyError
        If a worker is at it still that was given up, or whose client has died.
    EmresError
        If the map or its mask cannot be used; nothing is left of it then.
    """
    _somewhere(client, "prepare", _prepare, job, scratch, tick)


def finish_map(job: PredictJob, scratch: Scratch, client: Client | None, tick: Tick) -> dict[str, Any]:
    """Carry a prediction into the store: :func:`emres.run.finish.finish`, wherever there is a place for it."""
    return dict(_somewhere(client, "finish", finish, job, scratch, tick))


def clear(job: PredictJob, scratch: Scratch) -> None:
    """Remove what was intermediate."""
    scratch.clear()
    job.group.tidy()


def _somewhere(
    client: Client | None, what: str, step: Callable[..., Any], job: PredictJob, scratch: Scratch, tick: Tick
) -> Any:
    if client is None:
        return step(job, scratch)
    from emres.run.cluster_tasks import Call, run_step

    return run_step(
        client, Call(f"{task_name(f'{what}-{job.group.name}')}-0", step, (job, scratch), job.group.name), tick
    )


def _prepare(job: PredictJob, scratch: Scratch) -> None:
    # A worker that was taken for dead may begin, or end, when another has done it: neither undoes the other's work.
    with _alone(job, scratch):
        if scratch.notes().get("prepared"):
            return
        source = job.source.pyramid(job.kind)
        try:
            mask = mask_slabs(source, job.mask, job.contour_level)
            prepare_for(job.contract, source, mask, job.grids[1], scratch, job.reported, job.model)
        except BusyError:
            raise
        except EmresError:  # an input that cannot be used leaves nothing behind
            scratch.clear()
            raise
        scratch.note(prepared=True)


def _alone(job: PredictJob, scratch: Scratch) -> Any:
    if not isinstance(scratch, DiskScratch):
        return nullcontext()
    with disk_errors(job.group.work):
        job.group.work.mkdir(parents=True, exist_ok=True)
    return only_writer(scratch.folder)
