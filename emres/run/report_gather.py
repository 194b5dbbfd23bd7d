"""What a report shows, read from its source in pieces: the box round the molecule, at the sampling that is shown."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from emres import __version__
from emres.errors import MapError
from emres.run.report_sources import GivenResult, ReportSource
from emres.view.contour import automatic_level
from emres.view.report.codes import coarsened, coded_density, coded_resolution, decided
from emres.view.report.data import ReportData, ResultShown
from emres.view.report.distribution import Distribution
from emres.volume.blocks import Box
from emres.volume.boxes import bounding_box
from emres.volume.masking import automatic_mask
from emres.volume.pyramid import Pyramid, block_mean

Array = np.ndarray[Any, Any]

# Called with (stage, steps done, steps in all).
Tell = Callable[[str, int, int], None]

_SAMPLED = 1_000_000  # voxels of the box, for comparing results
_SLAB = 64  # voxels
_MARGIN = 0.06  # of the molecule's longest extent, round it
_LEAST_MARGIN = 4  # voxels


def box_shown(found: ReportSource) -> Box:
    """Return the box round the molecule, with a margin, in voxels of the map."""
    grid = found.density.grid()
    boxes = [box for result in found.results if (box := _box_of(result, grid.shape)) is not None]
    whole = Box((0, 0, 0), grid.shape)
    if not boxes:
        boxes = [_box_of_molecule(found.density) or whole]
    start = [min(box.start[axis] for box in boxes) for axis in range(3)]
    stop = [max(box.stop[axis] for box in boxes) for axis in range(3)]
    longest = max(b - a for a, b in zip(start, stop, strict=True))
    box = Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    return box.grown(max(_LEAST_MARGIN, round(_MARGIN * longest))).clipped(grid.shape)


def _box_of(result: GivenResult, shape: Sequence[int]) -> Box | None:
    overview = decided(result.overview, covers_box=result.covers_box)
    return _scaled_box(bounding_box(overview != 0), overview.shape, shape)


def _box_of_molecule(density: Pyramid) -> Box | None:
    level = density.levels - 1
    grid = density.grid(level)
    try:
        mask = automatic_mask(np.asarray(density.array(level)[...]), grid.voxel_size)
    except MapError:  # a constant map is shown as it is
        return None
    return _scaled_box(bounding_box(mask), grid.shape, density.grid().shape)


def _scaled_box(box: Box | None, coarse: Sequence[int], shape: Sequence[int]) -> Box | None:
    if box is None:
        return None
    scale = [n / m for n, m in zip(shape, coarse, strict=True)]
    start = [math.floor(a * by) for a, by in zip(box.start, scale, strict=True)]
    stop = [math.ceil(b * by) for b, by in zip(box.stop, scale, strict=True)]
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def gathered(found: ReportSource, box: Box, factor: int, said: Mapping[str, Any], tell: Tell) -> ReportData:
    """Return what a report shows of a box.

    Parameters
    ----------
    found : ReportSource
    box : Box
        In voxels of the map.
    factor : int
        Voxels of the map along the edge of one that is shown.
    said : mapping
        ``fsc``, ``warnings``, ``notes`` of :class:`ReportData`.
    tell : callable
        Told of every slab read.
    """
    box = box.aligned(factor).clipped(found.density.grid().shape)
    density = _density_in(found.density, box, factor)
    shown, samples, step = _results_in(found.results, box, factor, tell)
    contour, authors = _contour(found, density, factor)
    return ReportData(
        name=found.name,
        title=str(found.entry.get("title") or ""),
        entry=found.entry,
        grid=found.density.grid(),
        start=box.start,
        factor=factor,
        density=coded_density(density, keep=contour),
        contour_level=contour,
        authors_level=authors,
        results=shown,
        samples=samples,
        sampled=step,
        made_of=found.made_of,
        program=f"emres {__version__}, {dt.date.today().isoformat()}",
        **said,
    )


def _density_in(density: Pyramid, box: Box, factor: int) -> Array:
    """Read a box of the map, averaged over cubes of voxels: from the coarsest level that will do, slab by slab."""
    level = max(k for k in range(density.levels) if factor % 2**k == 0)
    array, rest = density.array(level), factor // 2**level
    low, high = ([-(-n // 2**level) for n in corner] for corner in (box.start, box.stop))
    thickness = rest * max(1, _SLAB // rest)
    parts = [
        block_mean(np.asarray(array[z : min(z + thickness, high[0]), low[1] : high[1], low[2] : high[2]]), rest)
        for z in range(low[0], high[0], thickness)
    ]
    return np.concatenate(parts)


def _results_in(
    results: Sequence[GivenResult], box: Box, factor: int, tell: Tell
) -> tuple[list[ResultShown], Array, int]:
    """Read every result once, slab by slab: as it is shown, as it is distributed, and a sample to compare."""
    seen = [Distribution() for _ in results]
    parts: list[list[Array]] = [[] for _ in results]
    step = max(1, round(box.voxels / _SAMPLED))
    samples = [np.zeros((len(results), 0), dtype=np.float32)]
    thickness = factor * max(1, _SLAB // factor)
    for z in range(box.start[0], box.stop[0] if results else box.start[0], thickness):
        where = (slice(z, min(z + thickness, box.stop[0])), *box.slices[1:])
        slabs = [decided(np.asarray(result.array[where]), covers_box=result.covers_box) for result in results]
        for k, values in enumerate(slabs):
            seen[k].add(values)
            parts[k].append(coarsened(values, factor))
        drawn = np.stack([values.ravel()[::step] for values in slabs])
        samples.append(drawn[:, (drawn > 0).any(axis=0)])
        tell("read", min(z + thickness, box.stop[0]) - box.start[0], box.shape[0])
    shown = [
        ResultShown(result.name, coded_resolution(np.concatenate(part)), distribution, result.facts)
        for result, part, distribution in zip(results, parts, seen, strict=True)
    ]
    return shown, np.concatenate(samples, axis=1), step


def _contour(found: ReportSource, density: Array, factor: int) -> tuple[float, bool]:
    """Return the author's contour level where the map crosses it, else one found here."""
    level = found.entry.get("contour_level")
    if level is not None and float(density.min()) < float(level) < float(density.max()):
        return float(level), True
    z, y, x = found.density.grid().voxel_size
    try:
        return automatic_level(density, (z * factor, y * factor, x * factor)), False
    except MapError:  # a constant map is shown as it is
        return float(density.flat[0]), False
