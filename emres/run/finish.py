"""The end of a prediction: what the net said becomes maps of the store, on the grid of the map it is of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.scratch import Scratch
from emres.archive.writer import VolumeWriter
from emres.run.doubts import doubts
from emres.run.jobs import provenance
from emres.run.prepare import NO_SIGNAL, SPREAD, Summary, finest_answer, marked, restore

if TYPE_CHECKING:
    from emres.run.predict import PredictJob


def finish(job: PredictJob, scratch: Scratch) -> dict[str, Any]:
    """Carry a prediction to the grid of its map, and into the store: the uncertainty beside the resolution.

    Parameters
    ----------
    job : PredictJob
    scratch : Scratch
        Holds the answer on the model's grid.

    Returns
    -------
    dict
        The attributes of the result.
    """
    grid, working = job.grids
    summary, density = Summary(), job.group.array(job.kind) if job.contract.cube else None
    with ThreadPoolExecutor(1) as beside, VolumeWriter(job.group, job.result, grid) as writer:
        spread = beside.submit(_write_uncertainty, job, job.uncertainty, scratch) if job.uncertainty else None
        for box, resolution in restore(scratch, grid, working, 0 if job.contract.cube else finest_answer(grid)):
            if density is not None:
                resolution = marked(resolution, np.asarray(density[box.slices]))
            summary.add(np.where(resolution == NO_SIGNAL, 0, resolution) if density is not None else resolution)
            writer.add(0, resolution)
        answer = summary.result()
        attributes: dict[str, Any] = {
            "fingerprint": job.fingerprint(),
            **provenance(job.mask),
            "model": job.contract.name_version,
            "weights_sha256": job.contract.weights_sha256,
            "source_kind": job.kind,
            "normalisation": {key: scratch.notes()[key] for key in ("centre", "scale")},
            "working_voxel_size": working.voxel_size[0],
            "mrc_header": job.source.attributes(job.kind).get("mrc_header"),
            **answer,
        }
        if spread:
            notes, sigma = scratch.notes(), spread.result()
            attributes |= {"reported": job.reported, "uncertainty": sigma}
            told = notes.get("condition", [])
            doubtful = doubts(answer["median"], sigma, job.reported, told, job.contract, job.grids)
            if warnings := [*notes.get("warnings", []), *doubtful]:
                attributes["warnings"] = warnings
        # After the uncertainty: that the resolution is there means that all is done.
        writer.commit(attributes)
    return attributes


def _write_uncertainty(job: PredictJob, kind: str, scratch: Scratch) -> float:
    """Write one standard deviation of every voxel, and return the median, Å."""
    grid, working = job.grids
    summary = Summary()
    with VolumeWriter(job.group, kind, grid) as writer:
        for _, spread in restore(scratch, grid, working, 0, SPREAD):
            summary.add(spread)
            writer.add(0, spread)
        header = job.source.attributes(job.kind).get("mrc_header")
        writer.commit({"fingerprint": job.fingerprint(), "model": job.contract.name_version, "mrc_header": header})
    return float(summary.result()["median"])
