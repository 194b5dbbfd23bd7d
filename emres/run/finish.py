"""The end of a prediction: what the net said becomes maps of the store, on the grid of the map it is of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.scratch import Scratch
from emres.archive.writer import VolumeWriter
from emres.run.jobs import provenance
from emres.run.prepare import NO_SIGNAL, SPREAD, Summary, finest_answer, marked, restore

if TYPE_CHECKING:
    from emres.model.contract import Contract
    from emres.run.predict import PredictJob
    from emres.volume.grid import Grid

# Median local over reported resolution: 99 of 100 simulated maps lie between 0.99 and 1.6.
_LIKELY = (0.9, 1.7)
_AT_FINEST, _AT_COARSEST = 1.01, 0.99  # of the limits


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
            told = scratch.notes().get("warnings", [])
            attributes |= {"reported": job.reported, "uncertainty": spread.result()}
            if warnings := [*told, *doubts(answer["median"], job.reported, job.contract, grid, working)]:
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


def doubts(median: float, reported: float | None, contract: Contract, grid: Grid, working: Grid) -> list[str]:
    """Return what is to be said of an answer that itself gives reason to doubt it, in sentences.

    Parameters
    ----------
    median : float
        Å, of the local resolution.
    reported : float, optional
        Å, of the whole map, if it was told.
    contract : Contract
        Of the model.
    grid, working : Grid
        The map's, and the model's.
    """
    coarsest = contract.valid_range[1] * working.voxel_size[0]
    return far_from_reported(median, reported) + at_its_limit(median, finest_answer(grid), coarsest)


def far_from_reported(median: float, reported: float | None) -> list[str]:
    """Return a sentence if an answer does not go with the resolution that was told, else nothing.

    Parameters
    ----------
    median : float
        Å, of the local resolution.
    reported : float, optional
        Å, of the whole map.

    Examples
    --------
    >>> far_from_reported(3.9, 3.4), far_from_reported(3.9, None)
    ([], [])
    """
    if reported is None or _LIKELY[0] <= median / reported <= _LIKELY[1]:
        return []
    return [
        f"the median local resolution, {median:.3g} Å, is {median / reported:.2g} times the reported {reported:.3g} Å "
        f"(usual: {_LIKELY[0]:g} to {_LIKELY[1]:g}): check the mask and what was reported, or compare with half maps, "
        "emres estimate --method fsc"
    ]


def at_its_limit(median: float, finest: float, coarsest: float) -> list[str]:
    """Return a sentence if most of an answer is the finest or the coarsest that can be given, Å, else nothing.

    Examples
    --------
    >>> at_its_limit(12.0, 2.2, 22.6)
    []
    """
    if median <= _AT_FINEST * finest:
        return [
            f"half of the molecule or more is at {finest:.3g} Å, two voxels of the map: it is resolved to that or "
            "better, and no map with such voxels can show more"
        ]
    if median >= _AT_COARSEST * coarsest:
        return [
            f"half of the molecule or more is at {coarsest:.3g} Å, the coarsest that the model answers on this map: it "
            "is resolved to that or worse, or the mask holds more than the molecule"
        ]
    return []
