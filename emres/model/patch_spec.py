"""What an epoch of patches is made of: records that say everything, and hold nothing large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from emres.errors import UsageError
from emres.volume.grid import Shape, Triple

Array = np.ndarray[Any, Any]


class Entry(Protocol):
    """What an epoch must know of an entry: a row of a data set has it."""

    @property
    def entry(self) -> str:
        """Its name."""

    @property
    def weight(self) -> float:
        """How often it is drawn, over the others."""

    @property
    def resolution(self) -> float:
        """Å, its median."""

    @property
    def voxels(self) -> int:
        """How many have a target."""

    @property
    def densities(self) -> tuple[str, ...]:
        """What a patch may show."""

    @property
    def lattice(self) -> int:
        """Above 0: cubes of that side which have nothing to do with each other."""


@dataclass(frozen=True)
class Cells:
    """Where an entry has a target, coarsely.

    Parameters
    ----------
    corners : (n, 3) int
        First voxel of every cell that holds some target, z, y, x.
    side : int
        Voxels of a cell.
    shape : (z, y, x)
        Voxels of the entry.
    """

    corners: Array
    side: int
    shape: Shape


@dataclass(frozen=True)
class PatchSpec:
    """Everything one patch depends on, beside the entry and the plan of its cut.

    Parameters
    ----------
    row : int
        Which row of the side of the split.
    centre : (z, y, x)
        The voxel of the map that voxel ``side // 2`` of the patch lies on; may be fractional where it is resampled.
    density : str
        ``map`` or ``average``.
    turn : int
        One of the 24 rotations of a cube.
    mirrored : bool
    seed : int
        Of its augmentation.
    """

    row: int
    centre: Triple
    density: str = "map"
    turn: int = 0
    mirrored: bool = False
    seed: int = 0


@dataclass(frozen=True)
class EpochPlan:
    """How an epoch is drawn.

    Parameters
    ----------
    patches : int
        In an epoch.
    seed, epoch : int
        The same two are the same epoch.
    visit : int
        Patches cut from an entry at one go.
    window : int
        Entries whose visits are interleaved.
    near : float
        Share of the patches that are moved off the molecule by up to ``shift`` along each axis.
    shift : float
        Voxels of the map.
    rotations, mirrors : bool
    """

    patches: int
    seed: int = 0
    epoch: int = 0
    visit: int = 32
    window: int = 8
    near: float = 0.1
    shift: float = 16.0
    rotations: bool = False
    mirrors: bool = False

    def __post_init__(self) -> None:
        if self.patches < 1 or self.visit < 1 or self.window < 1 or not 0 <= self.near <= 1:
            raise UsageError("an epoch cannot be drawn like this", got=str(self), expected="counts from 1, a share 0-1")
        if min(self.seed, self.epoch) < 0:
            raise UsageError("a seed is a whole number from 0 up", got=f"seed {self.seed}, epoch {self.epoch}")


@dataclass(frozen=True)
class Visit:
    """Patches ``first`` up to ``first + count`` of the ``total`` that an epoch takes from a row."""

    row: int
    first: int
    count: int
    total: int
