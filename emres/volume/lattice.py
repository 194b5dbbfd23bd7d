"""Cubes that have nothing to do with each other, side by side in one box; and a volume cut into cubes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

MOST_PER_SIDE = 16  # cubes along y and x: a layer of cubes of 16^3 float32 is 4 MiB


@dataclass(frozen=True)
class Lattice:
    """Cubes side by side in one box, x fastest.

    Parameters
    ----------
    count : int
        Cubes; places beyond them are empty.
    side : int
        Voxels along an edge.

    Examples
    --------
    >>> Lattice(10, 16).shape
    (32, 48, 48)
    """

    count: int
    side: int

    @property
    def per_side(self) -> int:
        """Cubes along y and along x."""
        return min(MOST_PER_SIDE, math.ceil(round(math.cbrt(self.count), 6)))

    @property
    def per_layer(self) -> int:
        """Cubes of one layer along z."""
        return self.per_side**2

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the box."""
        return (-(-self.count // self.per_layer) * self.side, *(self.per_side * self.side,) * 2)

    def layers(self) -> Iterator[tuple[int, int]]:
        """Yield the first and the last + 1 of the cubes of every layer."""
        for start in range(0, self.count, self.per_layer):
            yield start, min(start + self.per_layer, self.count)

    def joined(self, cubes: Array) -> Array:
        """Return one layer as a slab: (n, side, side, side) -> (side, y, x)."""
        whole = np.zeros((self.per_layer, *(self.side,) * 3), dtype=np.float32)
        whole[: len(cubes)] = cubes
        return assembled(whole.reshape(1, self.per_side, self.per_side, *(self.side,) * 3))

    def parted(self, slab: Array, count: int) -> Array:
        """Return the first ``count`` cubes of a slab."""
        return np.asarray(cut(slab, self.side)[:count])


def cut(volume: Array, side: int) -> Array:
    """Cut a volume into cubes without overlap, x fastest: (z, y, x) -> (n, side, side, side).

    Parameters
    ----------
    volume : (z, y, x)
        What is no whole cube, beyond the last one along each axis, is left.
    side : int
        Voxels along an edge.
    """
    z, y, x = (length // side for length in volume.shape)
    whole = volume[: z * side, : y * side, : x * side]
    split = whole.reshape(z, side, y, side, x, side).transpose(0, 2, 4, 1, 3, 5)
    return np.ascontiguousarray(split).reshape(-1, side, side, side)


def assembled(cubes: Array) -> Array:
    """Undo :func:`cut` of a volume of so many cubes: (z, y, x, side, side, side) -> a volume."""
    z, y, x, side = cubes.shape[:4]
    return np.ascontiguousarray(cubes.transpose(0, 3, 1, 4, 2, 5)).reshape(z * side, y * side, x * side)
