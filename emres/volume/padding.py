"""What a box was padded with, as people do to make it a cube or to give a program room: it is no part of the map."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from emres.volume.blocks import Box
from emres.volume.grid import Grid, as_shape
from emres.volume.masking import differing, sphere_rim

Array = np.ndarray[Any, Any]

_FULL = 0.97  # share of a part that must differ from the padding: of a map that was masked less does


def held_box(values: Array) -> Box | None:
    """Return the part of a box that holds a map; None if the box was not padded.

    Parameters
    ----------
    values : (z, y, x)

    Examples
    --------
    >>> held_box(np.pad(np.random.default_rng(0).normal(size=(4, 5, 6)), 2))
    Box(start=(2, 2, 2), stop=(6, 7, 8))
    """
    part = differing(values)
    if part is None or values[part].shape == values.shape:
        return None
    full = (values[part] != values.flat[0]).mean() >= _FULL or sphere_rim(values[part]) is not None
    return Box.of(part) if full else None


def carried(box: Box, grid: Grid, to: Grid) -> Box:
    """Return the box of another grid whose voxels have their centres in a box of one.

    Parameters
    ----------
    box : Box
    grid, to : Grid

    Examples
    --------
    >>> coarse, fine = Grid((4, 4, 4), (2.0,) * 3, (0.5,) * 3), Grid((8, 8, 8), (1.0,) * 3)
    >>> carried(Box((1, 1, 1), (3, 3, 3)), coarse, fine)
    Box(start=(2, 2, 2), stop=(6, 6, 6))
    """
    # A face lies half a voxel beyond the first centre, and beyond the last one.
    first, last = (
        to.to_index(grid.to_angstrom((corner[0] - 0.5, corner[1] - 0.5, corner[2] - 0.5)))
        for corner in (box.start, box.stop)
    )
    return Box(as_shape(map(math.ceil, first)), as_shape(map(math.ceil, last))).clipped(to.shape)
