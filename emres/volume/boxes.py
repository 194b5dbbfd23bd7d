"""The cheapest set of boxes that covers a mask.

A net computes whole boxes, and a box carries a halo: many small boxes follow the molecule closely but compute much
context twice, one big box computes the solvent. Among all ways to halve the volume again and again along the axes,
the cheapest is found exactly, by remembering the answer for every box of that tree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emres.errors import UsageError
from emres.volume.blocks import Box
from emres.volume.grid import Shape
from emres.volume.masking import block_any

# A box has a price beyond its voxels: allocating, padding, starting threads.
BOX_OVERHEAD = 20_000
# Halves shorter than this are nearly all halo.
SHORTEST_SIDE = 16
# An axis is cut into at most 4 parts: it bounds the tree to 7^3 boxes. More never gave a cheaper cover on a real map.
PARTS = 4

Choice = tuple[int, list[Box]]


def cover_mask(mask: np.ndarray[Any, Any], *, multiple: int, halo: int, largest: int | None = None) -> list[Box]:
    """Cover the True part of a mask with boxes that are cheap to compute.

    Parameters
    ----------
    mask : (z, y, x) bool
    multiple : int
        Every box starts on a multiple of it from index 0; its far faces too, which may lie beyond the mask's end.
    halo : int
        Voxels of context that each box will be grown by, a multiple; part of its price.
    largest : int, optional
        No grown box may have more voxels.

    Returns
    -------
    list of Box
        Without overlap, without halo; empty for an empty mask.

    Raises
    ------
    UsageError
        If not even the smallest box fits ``largest``.

    Examples
    --------
    >>> mask = np.zeros((100, 100, 100), dtype=bool)
    >>> mask[10:14, 50, 90:] = True
    >>> cover_mask(mask, multiple=4, halo=8)
    [Box(start=(8, 48, 88), stop=(16, 52, 100))]
    """
    cells = block_any(mask, multiple)
    padded = Box((0, 0, 0), mask.shape).aligned(multiple)
    tree = _Tree(cells, multiple, halo, largest, padded.shape)
    return tree.cheapest(Box((0, 0, 0), cells.shape))[1]


@dataclass
class _Tree:
    """Boxes in cells of ``multiple``^3 voxels, and the cheapest cover already found for each."""

    cells: np.ndarray[Any, Any]
    multiple: int
    halo: int
    largest: int | None
    shape: Shape
    known: dict[tuple[Shape, Shape], Choice] = field(default_factory=dict)

    def cheapest(self, region: Box) -> Choice:
        """Return (price in voxels, boxes) of the cheapest cover of a region given in cells."""
        key = (region.start, region.stop)
        if key not in self.known:
            self.known[key] = self._solve(region)
        return self.known[key]

    def _solve(self, region: Box) -> Choice:
        tight = bounding_box(self.cells[region.slices])
        if tight is None:
            return 0, []
        tight = tight.moved(region.start)
        box = Box(*(tuple(side * self.multiple for side in corner) for corner in (tight.start, tight.stop)))  # type: ignore[arg-type]
        voxels = box.grown(self.halo).clipped(self.shape).voxels
        fits = self.largest is None or voxels <= self.largest
        options = [(voxels + BOX_OVERHEAD, [box])] if fits else []
        if fits and self.cells[tight.slices].all():
            return options[0]  # two parts with their halos never cost less than a box that is full
        options += [self._both(halves) for halves in self._halvings(region, forced=not fits)]
        if not options:
            raise UsageError(
                "memory does not hold the smallest box",
                got=f"{self.largest} voxels",
                expected=f"{voxels} with a halo of {self.halo}",
                cure="allow more memory per task",
            )
        return min(options, key=lambda option: option[0])

    def _both(self, halves: tuple[Box, Box]) -> Choice:
        (price_1, boxes_1), (price_2, boxes_2) = (self.cheapest(half) for half in halves)
        return price_1 + price_2, boxes_1 + boxes_2

    def _halvings(self, region: Box, forced: bool) -> list[tuple[Box, Box]]:
        if forced:
            longest = max(range(3), key=lambda axis: region.shape[axis])
            return [_halved(region, longest)] if region.shape[longest] > 1 else []
        shortest = [max(SHORTEST_SIDE / self.multiple, side / PARTS) for side in self.cells.shape]
        return [_halved(region, axis) for axis in range(3) if region.shape[axis] >= 2 * shortest[axis]]


def bounding_box(mask: np.ndarray[Any, Any]) -> Box | None:
    """Return the smallest box round the True voxels of a (z, y, x) mask; None if there are none.

    Examples
    --------
    >>> mask = np.zeros((9, 9, 9), dtype=bool)
    >>> mask[2, 3:5, 8] = True
    >>> bounding_box(mask)
    Box(start=(2, 3, 8), stop=(3, 5, 9))
    """
    plane = np.asarray(mask.any(axis=0))
    along = (mask.any(axis=(1, 2)), plane.any(axis=1), plane.any(axis=0))
    hits = [np.flatnonzero(np.asarray(line)) for line in along]
    if not hits[0].size:
        return None
    (z, z_end), (y, y_end), (x, x_end) = ((int(hit[0]), int(hit[-1]) + 1) for hit in hits)
    return Box((z, y, x), (z_end, y_end, x_end))


def _halved(region: Box, axis: int) -> tuple[Box, Box]:
    middle = (region.start[axis] + region.stop[axis]) // 2
    near, far = list(region.stop), list(region.start)
    near[axis] = far[axis] = middle
    (z, y, x), (u, v, w) = near, far
    return Box(region.start, (z, y, x)), Box((u, v, w), region.stop)


def total_voxels(boxes: list[Box], halo: int, shape: Shape) -> int:
    """Count the voxels that computing these boxes with their halo takes."""
    return sum(box.grown(halo).clipped(shape).voxels for box in boxes)
