"""What lies round a map in its box: a value that it was padded with, or that a mask left of what was there.

People pad a box to make it a cube or to give a program room. That is no part of the map, and tells nothing of it. What
lies round a map that was masked is no part of it either, but there it has no faces: nothing is all that there is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from emres.volume.blocks import Box
from emres.volume.grid import Grid, as_shape
from emres.volume.masking import differing, sphere_rim
from emres.volume.pyramid import Pyramid
from emres.volume.resample import Sliceable

Array = np.ndarray[Any, Any]

_FULL = 0.97  # share of a part that must differ from the padding: of a map that was masked less does
_ENOUGH = 64  # voxels along an axis, in which a sphere looks like one


@dataclass(frozen=True)
class Padding:
    """What a map is surrounded by.

    Parameters
    ----------
    held : Box
        The part of the grid round everything that differs from the value in all corners.
    masked : bool
        Whether there is as much of that value in the part itself: a mask left it. Else the part is a map to its faces,
        and the rest what its box was padded with.
    """

    held: Box
    masked: bool


def padding_of(source: Pyramid) -> Padding | None:
    """Return what a map is surrounded by; None if it is a map to the corners of its box.

    Parameters
    ----------
    source : Pyramid
        Looked at on a coarse level, and near the faces of what is found there.

    Examples
    --------
    >>> from emres.volume.pyramid import MemoryPyramid
    >>> noise = np.random.default_rng(0).normal(size=(9, 13, 10))
    >>> padded = np.pad(noise, ((5, 2), (3, 0), (1, 4)))
    >>> padding_of(MemoryPyramid(padded, Grid(padded.shape, (1.0, 1.0, 1.0))))
    Padding(held=Box(start=(5, 3, 1), stop=(14, 16, 11)), masked=False)
    """
    grid, level = source.grid(), 0
    while level < source.levels - 1 and max(source.grid(level).shape) > _ENOUGH:
        level += 1
    values = np.asarray(source.array(level)[...])
    part = differing(values)
    if part is None:
        return None
    held = _trimmed(source.array(), Box.of(part).scaled(2**level).clipped(grid.shape), 2**level)
    full = (values[part] != values.flat[0]).mean() >= _FULL or sphere_rim(values[part]) is not None
    if full and held.shape == grid.shape:
        return None
    return Padding(held, not full)


def _trimmed(values: Sliceable, box: Box, most: int) -> Box:
    """Return a box without those planes at its faces, at most so many, that hold nothing but the value in a corner."""
    corner = np.asarray(values[:1, :1, :1]).flat[0]
    start, stop = list(box.start), list(box.stop)
    for axis, thick in enumerate(min(most, n) for n in box.shape):
        near, far = (
            (np.moveaxis(np.asarray(values[_planes(box, axis, first, thick)]), axis, 0) != corner).any(axis=(1, 2))
            for first in (box.start[axis], box.stop[axis] - thick)
        )
        start[axis] += int(np.argmax(near))  # none where all are alike
        stop[axis] -= int(np.argmax(far[::-1]))
    return Box(as_shape(start), as_shape(stop))


def _planes(box: Box, axis: int, first: int, thick: int) -> tuple[slice, ...]:
    return tuple(slice(first, first + thick) if k == axis else span for k, span in enumerate(box.slices))


def held_boxes(source: Pyramid, working: Grid, reach: int) -> tuple[Box, Box]:
    """Return the part of a map's grid, and of another, that the map is in: the same whatever its box was padded to.

    Parameters
    ----------
    source : Pyramid
    working : Grid
        The other grid, over the same box.
    reach : int
        Voxels of it, beyond the faces of a box in which a mask left nothing there, that are the map's, too.

    Returns
    -------
    Box, Box
        Of the map's grid, and of the other one.
    """
    grid, found = source.grid(), padding_of(source)
    of_map, of_working = (Box((0, 0, 0), each.shape) for each in (grid, working))
    if found is None:
        return of_map, of_working
    if found.masked:
        first = as_shape(-reach if held > 0 else 0 for held in found.held.start)
        faces = zip(working.shape, found.held.stop, grid.shape, strict=True)
        return of_map, Box(first, as_shape(n + reach if held < face else n for n, held, face in faces))
    alone = grid.part(found.held).resampled_evenly(working.mean_voxel_size)
    return found.held, _placed(alone, working).clipped(working.shape)


def _placed(grid: Grid, within: Grid) -> Box:
    """Return the voxels of one grid that lie nearest to those of another, of the same voxel size."""
    return Box((0, 0, 0), grid.shape).moved(as_shape(math.floor(i + 0.5) for i in within.to_index(grid.origin)))
