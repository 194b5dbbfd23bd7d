"""Before the net and after it: a map to the model's grid, and the answer back to the map's grid.

Everything streams through slabs of 64 voxels, so that memory does not grow with the map when the scratch is on disk.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from emres.archive.scratch import Scratch
from emres.errors import MapError
from emres.model.contract import MIN_MAX, NORMALISATION
from emres.run.masks import slabs
from emres.volume.blocks import Box
from emres.volume.boxes import bounding_box
from emres.volume.density import Normalisation, RobustStatistics, RunningStatistics
from emres.volume.faces import Faces
from emres.volume.grid import Grid, Shape
from emres.volume.padding import held_boxes
from emres.volume.pyramid import Pyramid
from emres.volume.resample import (
    Matrix,
    Sliceable,
    apply_matrices,
    carry,
    coverage,
    reached,
    resampling_matrices,
    support,
)
from emres.volume.resolved import determined

Array = np.ndarray[Any, Any]

MASK, DENSITY, NEEDED, PATTERN, PREDICTION, SPREAD = "mask", "density", "needed", "pattern", "prediction", "spread"

NO_SIGNAL = np.float32(100)  # Å: the word of ResMap and of the predecessor for "nothing here"
_PLANES = 8  # that are counted at one go: memory
_SAMPLES = 2**20  # voxels from which the median outside the molecule is taken


def prepare(
    source: Pyramid,
    mask: Iterable[tuple[Box, Array]],
    working: Grid,
    scratch: Scratch,
    *,
    reach: int,
    normalisation: str = NORMALISATION,
) -> tuple[Box, Box]:
    """Write the mask, where on the working grid the net is needed, and the normalised density round there.

    Parameters
    ----------
    source : Pyramid
        The map.
    mask : boxes and their bool arrays
        As from :func:`emres.run.masks.mask_slabs`; they cover the map's grid once.
    working : Grid
        The model's grid over the map's box.
    scratch : Scratch
        Receives ``mask`` (on the map's grid), ``needed`` and ``density`` (on the working grid; zeros where nothing
        that is needed can depend on it).
    reach : int
        How far round the needed voxels the net may look.
    normalisation : str
        As the net's contract states it.

    Returns
    -------
    Box, Box
        On the working grid: round all of the map that is needed, and the part that holds the map: without what its box
        was padded with, and, of a map that was masked, with the nothing beyond the faces.

    Raises
    ------
    MapError
        If the map or its mask is unusable: constant, empty mask, another grid.
    """
    grid = source.grid()
    of_map, of_working = held_boxes(source, working, reach)
    inside, faces = scratch.create(MASK, grid.shape, "bool"), Faces(of_map)
    for box, values in mask:
        inside[box.slices] = values
        faces.add(box, values)
    region = _write_needed(inside, grid, working, scratch)
    if normalisation == MIN_MAX:  # of all, as the predecessor took them
        of_map = Box((0, 0, 0), grid.shape)
    gathered = _MinMax() if normalisation == MIN_MAX else _robust(grid.part(of_map))
    near = region.grown(reach).clipped(working.shape).shared(of_working)
    if min(near.shape) < 1:
        raise MapError("the mask lies beside the map, in what its box was padded with", cure="use --mask auto or none")
    how = _resample(source.array(), grid, working, near, scratch, gathered, of_map)
    scratch.note(centre=how.centre, scale=how.scale, stripped=gathered.stripped(), cut=faces.cut())
    return region.shared(of_working), of_working


def _write_needed(inside: Sliceable, grid: Grid, working: Grid, scratch: Scratch) -> Box:
    """Write where the net is needed, and return the box round it."""
    matrices = coverage(grid, working)
    needed = scratch.create(NEEDED, working.shape, "bool")
    region: Box | None = None
    for box in slabs(working):
        part = carry(inside, matrices, box) > 0
        needed[box.slices] = part
        found = bounding_box(part)
        if found is not None:
            placed = found.moved(box.start)
            region = placed if region is None else region.joined(placed)
    if region is None:
        raise MapError("the mask holds no voxel", cure="use --mask auto or none, or a lower contour level")
    return region


class _MinMax:
    """Gather the :class:`Normalisation` that takes a whole volume to 0..1."""

    def __init__(self) -> None:
        self._running = RunningStatistics()

    def add(self, values: Array, mask: Array) -> None:
        self._running.add(values)

    def result(self) -> Normalisation:
        found = self._running.result()
        return Normalisation(found.minimum, found.maximum - found.minimum)

    def stripped(self) -> bool:
        """Return False: such a net asks nothing of a map as a whole."""
        return False


def _robust(grid: Grid) -> RobustStatistics:
    return RobustStatistics(max(1, math.ceil((grid.voxels / _SAMPLES) ** (1 / 3))))


def _resample(
    source: Sliceable,
    grid: Grid,
    working: Grid,
    region: Box,
    scratch: Scratch,
    statistics: RobustStatistics | _MinMax,
    held: Box,
) -> Normalisation:
    """Resample x and y while streaming along z, then z along y; normalise with what was gathered of what is held."""
    inside, part = scratch.open(MASK), grid.part(held)
    along_z, along_y, along_x = resampling_matrices(part, working)
    # What a box was padded with stays 0, also where the density is normalised.
    region = region.shared(Box.of(reached((along_z, along_y, along_x))))
    in_z, in_y, in_x = region.slices
    half = scratch.create("half", (part.shape[0], *region.shape[1:]), "float32")
    for box in slabs(part):
        where = box.moved(held.start).slices
        values = np.asarray(source[where], dtype=np.float32)
        statistics.add(values, np.asarray(inside[where]))
        half[box.slices[0]] = apply_matrices(values, (None, along_y[in_y], along_x[in_x]))
    normalisation = statistics.result()
    density = scratch.create(DENSITY, working.shape, "float32")
    for box in slabs(working, axis=1):  # of whole chunks, as far as they reach into the region
        rows = slice(max(box.start[1], in_y.start), min(box.stop[1], in_y.stop))
        if rows.start >= rows.stop:
            continue
        columns = np.asarray(half[:, rows.start - in_y.start : rows.stop - in_y.start])
        density[in_z, rows, in_x] = normalisation(apply_matrices(columns, (along_z[in_z], None, None)))
    scratch.create("half", (1, 1, 1), "float32")  # free it
    return normalisation


def finest_answer(grid: Grid) -> float:
    """Return two voxels of a map, Å: nothing finer can be in it."""
    return 2 * max(grid.voxel_size)


def marked(resolution: Array, density: Array) -> Array:
    """Return a resolution with 100 where its map has no density above 0, as the predecessor and ResMap write it."""
    return np.where((resolution != 0) & (density <= 0), NO_SIGNAL, resolution)


def restore(
    scratch: Scratch, grid: Grid, working: Grid, finest: float, name: str = PREDICTION
) -> Iterator[tuple[Box, Array]]:
    """Yield the prediction on the map's grid, slab by slab along z; 0 outside the mask.

    Parameters
    ----------
    scratch : Scratch
        Holds ``mask`` and ``prediction``.
    grid, working : Grid
    finest : float
        Å; no answer is finer.
    name : str
        ``prediction``, or ``spread``.

    Yields
    ------
    Box, float32 array of its shape (Å)
    """
    inside, prediction = scratch.open(MASK), scratch.open(name)
    matrices = resampling_matrices(working, grid, "linear")
    for box in slabs(grid):
        mask = np.asarray(inside[box.slices])
        if not mask.any():
            yield box, np.zeros(box.shape, dtype=np.float32)
            continue
        where = support(matrices, box)
        z, y, x = (m[part, columns] for m, part, columns in zip(matrices, box.slices, where, strict=True))
        yield box, to_grid(np.asarray(prediction[where]), mask, matrices=(z, y, x), finest=finest)


def to_grid(prediction: Array, mask: Array, *, matrices: tuple[Matrix, Matrix, Matrix], finest: float) -> Array:
    """Interpolate a part of a prediction onto a part of the map's grid.

    Parameters
    ----------
    prediction : (z', y', x') float32, Å
        The part of the working grid that the matrices read.
    mask : (z, y, x) bool
    matrices : three of (new, old) float32
    finest : float
        Å; answers below it are raised to it.

    Returns
    -------
    (z, y, x) float32
        Å; 0 outside the mask.
    """
    resolution = np.zeros(mask.shape, dtype=np.float32)
    inside = bounding_box(mask)
    if inside is not None:
        where = support(matrices, inside)
        z, y, x = (m[part, columns] for m, part, columns in zip(matrices, inside.slices, where, strict=True))
        values = apply_matrices(prediction[where], (z, y, x))
        np.maximum(values, np.float32(finest), out=resolution[inside.slices], where=mask[inside.slices])
    return resolution


class Summary:
    """Median and percentiles of a resolution map, gathered slab by slab from a histogram of 0.01 Å."""

    _STEP, _BINS = 0.01, 40_000

    def __init__(self) -> None:
        self._counts = np.zeros(self._BINS, dtype=np.int64)
        self._used = 0

    def add(self, resolution: Array) -> None:
        """Take in a slab (Å; 0 outside the mask, NaN or 100 where not determined, which do not count)."""
        for first in range(0, len(resolution), _PLANES):
            planes = resolution[first : first + _PLANES]
            inside = planes[planes > 0]
            if inside.size:
                known = inside[determined(inside)]
                index = np.minimum(known * np.float32(1 / self._STEP), self._BINS - 1).astype(np.uint16)
                found = np.bincount(index)  # up to the coarsest: of a small map that is a corner of all bins
                self._counts[: found.size] += found
                self._used = max(self._used, found.size)

    def result(self) -> dict[str, float | int]:
        """Return voxels, median, 5th and 95th percentile (Å).

        Raises
        ------
        MapError
            If no voxel was resolved.
        """
        counts = self._counts[: self._used]
        counts[:1] = 0  # outside the mask
        total = int(counts.sum())
        if not total:
            raise MapError("no voxel lies inside the mask", cure="use --mask auto or none")
        below = np.cumsum(counts)
        quantiles = {
            name: round(float(np.searchsorted(below, share * total) + 0.5) * self._STEP, 3)
            for name, share in (("median", 0.5), ("p05", 0.05), ("p95", 0.95))
        }
        return {"voxels": total, **quantiles}


def bytes_in_memory(grid: Grid, working: Grid) -> int:
    """Return what :func:`prepare` and the net's arrays take when the scratch is in memory.

    A voxel: density 4, needed 1, pattern 4, prediction 4, spread 4, and 8 for both as the predictor gives them.
    """
    between: Shape = (grid.shape[0], working.shape[1], working.shape[2])
    return grid.voxels + 4 * math.prod(between) + 25 * working.voxels
