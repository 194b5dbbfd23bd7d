"""How a volume is cut into blocks: integers only.

::

      read  (what the net sees)            write (what it answers for)
    +-----------------------------+        the core, clipped at the face of the volume
    |        halo                 |
    |    +-------------------+    |        core and halo are multiples of ``multiple`` = 2**levels,
    |    |       core        |    |        so every read starts on a multiple: a pooling net then
    |    |      (write)      |    |        sees the same pooling windows in every block
    |    +-------------------+    |
    |                             |        at the faces of the volume the halo is clipped, not padded:
    +-----------------------------+        the net's own zero padding acts there as on the whole volume
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from emres.errors import UsageError
from emres.volume.grid import Shape


def _triple(values: Iterator[int]) -> Shape:
    z, y, x = values
    return z, y, x


@dataclass(frozen=True)
class Box:
    """A cuboid of voxels, from ``start`` up to, not including, ``stop`` (z, y, x).

    Examples
    --------
    >>> box = Box((5, 5, 5), (9, 9, 9))
    >>> box.aligned(4)
    Box(start=(4, 4, 4), stop=(12, 12, 12))
    >>> box.grown(8).clipped((10, 10, 10))
    Box(start=(0, 0, 0), stop=(10, 10, 10))
    """

    start: Shape
    stop: Shape

    @classmethod
    def of(cls, slices: tuple[slice, slice, slice]) -> Box:
        """Return the box of an index, whose slices have a start and a stop."""
        return cls(_triple(one.start for one in slices), _triple(one.stop for one in slices))

    @property
    def shape(self) -> Shape:
        """Voxels along z, y, x."""
        return _triple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of this box in an array."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    def grown(self, halo: int | Shape) -> Box:
        """Return the box with ``halo`` more voxels on every side, or so many along each axis."""
        more = (halo,) * 3 if isinstance(halo, int) else halo
        start = _triple(a - m for a, m in zip(self.start, more, strict=True))
        return Box(start, _triple(b + m for b, m in zip(self.stop, more, strict=True)))

    def scaled(self, factor: int) -> Box:
        """Return a box of cells of so many voxels along each edge as a box of voxels."""
        return Box(_triple(factor * a for a in self.start), _triple(factor * b for b in self.stop))

    def clipped(self, shape: Shape) -> Box:
        """Return the part that lies inside a volume of this shape."""
        return Box(
            _triple(max(a, 0) for a in self.start), _triple(min(b, n) for b, n in zip(self.stop, shape, strict=True))
        )

    def aligned(self, multiple: int) -> Box:
        """Return the smallest box round this one whose faces lie on multiples."""
        return Box(
            _triple(a // multiple * multiple for a in self.start),
            _triple(-(-b // multiple) * multiple for b in self.stop),
        )

    def joined(self, other: Box) -> Box:
        """Return the smallest box that holds this one and another."""
        return Box(
            _triple(min(a, b) for a, b in zip(self.start, other.start, strict=True)),
            _triple(max(a, b) for a, b in zip(self.stop, other.stop, strict=True)),
        )

    def shared(self, other: Box) -> Box:
        """Return what lies in this box and in another; its shape has a side of 0 or less if nothing does."""
        return Box(
            _triple(max(a, b) for a, b in zip(self.start, other.start, strict=True)),
            _triple(min(a, b) for a, b in zip(self.stop, other.stop, strict=True)),
        )

    def within(self, outer: Box) -> Box:
        """Return this box in the coordinates of ``outer``: index 0 is the first voxel of ``outer``."""
        return Box(
            _triple(a - o for a, o in zip(self.start, outer.start, strict=True)),
            _triple(b - o for b, o in zip(self.stop, outer.start, strict=True)),
        )

    def moved(self, by: Shape) -> Box:
        """Return the box shifted by whole voxels."""
        return Box(
            _triple(a + d for a, d in zip(self.start, by, strict=True)),
            _triple(b + d for b, d in zip(self.stop, by, strict=True)),
        )


@dataclass(frozen=True)
class Block:
    """One unit of work and of retry: ``read`` this box, answer for ``write``."""

    index: Shape
    read: Box
    write: Box

    @property
    def core(self) -> Box:
        """Where the answer lies inside what was read."""
        return self.write.within(self.read)


@dataclass(frozen=True)
class BlockPlan:
    """A volume cut into cores that cover it once, each with its halo.

    A rest at the far face that is thinner than the halo joins the core before it: it would cost a block that is
    nearly all halo, and ``map_overlap`` cannot take context from a chunk thinner than the halo.

    Parameters
    ----------
    shape : (z, y, x) voxels of the volume
    core : (z, y, x) voxels of one core
    halo : int
        Voxels of context on every side.
    multiple : int
        Core and halo divide by it (2**levels of the net).
    """

    shape: Shape
    core: Shape
    halo: int
    multiple: int = 1

    @property
    def counts(self) -> Shape:
        """Blocks along z, y, x."""
        return _triple(self._count(n, c) for n, c in zip(self.shape, self.core, strict=True))

    def _count(self, length: int, core: int) -> int:
        count, rest = divmod(length, core)
        return max(count + (rest >= max(self.halo, 1)), 1)

    @property
    def chunks(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Core sizes along z, y, x, as Dask names its chunks."""
        z, y, x = (
            (c,) * (k - 1) + (n - c * (k - 1),) for n, c, k in zip(self.shape, self.core, self.counts, strict=True)
        )
        return z, y, x

    def __len__(self) -> int:
        return math.prod(self.counts)

    def __iter__(self) -> Iterator[Block]:
        for z, y, x in itertools.product(*(range(n) for n in self.counts)):
            yield self.block((z, y, x))

    def block(self, index: Shape) -> Block:
        """Return the block at an index, (z, y, x) in blocks."""
        start = _triple(i * c for i, c in zip(index, self.core, strict=True))
        stop = _triple(
            n if i == k - 1 else (i + 1) * c
            for i, c, k, n in zip(index, self.core, self.counts, self.shape, strict=True)
        )
        write = Box(start, stop)
        return Block(index, write.grown(self.halo).clipped(self.shape), write)


def plan_blocks(shape: Shape, core: int | Shape, halo: int = 0, multiple: int = 1) -> BlockPlan:
    """Cut a volume into blocks.

    Parameters
    ----------
    shape : (z, y, x) voxels
    core : int or (z, y, x)
        Side of the region one block answers for; an axis shorter than it gets one block.
    halo : int
        Context on every side, at least the receptive radius of what runs on the block.
    multiple : int
        What a block's start and side divide by: 2**levels.

    Returns
    -------
    BlockPlan

    Raises
    ------
    UsageError
        If core or halo is not a multiple, or nothing would be left.

    Examples
    --------
    >>> plan = plan_blocks((100, 100, 100), core=64, halo=8, multiple=4)
    >>> plan.counts
    (2, 2, 2)
    >>> plan.block((1, 0, 0)).read
    Box(start=(56, 0, 0), stop=(100, 72, 72))
    """
    cores = (core, core, core) if isinstance(core, int) else core
    if min(shape) < 1 or min(cores) < 1 or multiple < 1 or halo < 0:
        raise UsageError(
            "a block plan has no voxels", got=f"shape {shape}, core {cores}, halo {halo}, multiple {multiple}"
        )
    for name, value in (("core", max(cores, key=lambda c: c % multiple)), ("halo", halo)):
        if value % multiple:
            nearest = -(-value // multiple) * multiple
            raise UsageError(
                f"{name} {value} is not a multiple of {multiple} (2**levels of the net)", cure=f"use {nearest}"
            )
    return BlockPlan(shape, cores, halo, multiple)
