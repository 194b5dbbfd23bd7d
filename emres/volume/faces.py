"""Where a molecule goes on beyond the box of its map."""

from __future__ import annotations

from typing import Any

import numpy as np

from emres.volume.blocks import Box

Array = np.ndarray[Any, Any]


class Faces:
    """How much of a molecule lies in the faces of a box, gathered part by part.

    Parameters
    ----------
    held : Box
        The map, without what its box was padded with.

    Examples
    --------
    >>> faces = Faces(Box((0, 0, 0), (8, 8, 8)))
    >>> mask = np.zeros((8, 8, 8), dtype=bool)
    >>> mask[:4, 2:6, 2:6] = True  # reaches the first plane along z
    >>> faces.add(Box((0, 0, 0), (8, 8, 8)), mask)
    >>> round(faces.cut(), 6)
    1.0
    """

    def __init__(self, held: Box) -> None:
        self._held = held
        self._in_face = np.zeros((3, 2), dtype=np.int64)
        self._voxels = 0

    def add(self, box: Box, mask: Array) -> None:
        """Take in a part of the mask of the molecule: a box of the grid, and its voxels (z, y, x) bool."""
        inner = box.shared(self._held)
        if min(inner.shape) < 1:
            return
        inside = mask[inner.within(box).slices]
        self._voxels += int(np.count_nonzero(inside))
        for axis in range(3):
            for side, plane, face in ((0, inner.start, self._held.start), (1, inner.stop, self._held.stop)):
                if plane[axis] == face[axis]:
                    self._in_face[axis, side] += np.count_nonzero(inside.take(-side, axis))

    def cut(self) -> float:
        """Return the voxels in the face that cuts through most, over those in a plane of a cube as large.

        Of a cube that is cut at its middle 1.6, of a ball 1.9; 0 if the molecule lies free.
        """
        return float(self._in_face.max() / max(self._voxels, 1) ** (2 / 3))
