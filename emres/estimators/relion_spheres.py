"""Where RELION looks: soft spheres on a coarse grid, and the windows that hold them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np
import torch

from emres.estimators.shell_sums import ShellSums
from emres.estimators.side_by_side import Each
from emres.estimators.slab_transform import SLAB, unset
from emres.volume.grid import Shape

# The outermost part of the raised cosine that a window may cut off: there the mask is below 0.21.
CUT_EDGE = 0.7
# Side of the largest box and mask that are kept from call to call: 10 MB for a box of 112 voxels, 60 MB at most.
KEPT = 128


@dataclass(frozen=True)
class Spheres:
    """Where RELION looks, and with what mask: all in voxels of a cubic box.

    Parameters
    ----------
    box_size, radius, edge, step : int
    randomised_shell : int
        First Fourier shell whose phases are random.
    """

    box_size: int
    radius: int
    edge: int
    step: int
    randomised_shell: int

    @classmethod
    def of(cls, box_size: int, voxel_size: float, sampling: float, randomise_at: float) -> Spheres:
        """Return the spheres for lengths in Å."""
        half_up = [math.floor(length / voxel_size + 0.5) for length in (sampling / 2, sampling)]
        return cls(box_size, half_up[0], half_up[1], half_up[1], int(box_size * voxel_size / randomise_at))

    @property
    def centres(self) -> list[Shape]:
        """Centres of all spheres, (z, y, x) voxels."""
        middle, reach = self.box_size // 2, self.box_size // 2 - self.radius
        axis = range(0, self.box_size, self.step)
        grid = itertools.product(axis, axis, axis)
        return [centre for centre in grid if math.dist(centre, (middle,) * 3) < reach]

    @property
    def reach(self) -> int:
        """Distance from its centre beyond which a sphere is empty."""
        return self.radius + self.edge

    @property
    def window(self) -> int:
        """Side of a window that holds a sphere: even, of twos and threes; a five costs a half more."""
        side = 2 * math.ceil(self.radius + CUT_EDGE * self.edge) + 1
        return min(self.box_size, next(n for n in itertools.count(side + side % 2, 2) if _is_smooth(n)))

    def whole_mask(self, device: torch.device) -> torch.Tensor:
        """Return a sphere's mask in the smallest cube that holds all of it."""
        return self.mask(2 * self.reach + 1, (self.reach,) * 3, device)

    def mask(self, side: int, centre: Shape, device: torch.device) -> torch.Tensor:
        """Return a sphere's mask in a cube of ``side`` voxels."""
        z, y, x = ((torch.arange(side, device=device) - c).square() for c in centre)
        distance = (z[:, None, None] + y[None, :, None] + x[None, None, :]).sqrt()
        outward = distance.sub_(self.radius).div_(self.edge).clamp_(0.0, 1.0)
        return outward.mul_(math.pi).cos_().mul_(0.5).add_(0.5)


class KnownSpheres:
    """What is the same for all maps of like geometry: masks, and where the coefficients of a shell lie.

    Parameters
    ----------
    spheres : Spheres
    device : torch.device
    """

    def __init__(self, spheres: Spheres, device: torch.device) -> None:
        self.spheres, side = spheres, spheres.window
        self.window_mask = spheres.mask(side, (side // 2,) * 3, device)
        self.window_shells = ShellSums.of_window(side, spheres.box_size, device)
        self.whole_mask = spheres.whole_mask(device)
        self._weight: torch.Tensor | None = None
        self._box: dict[int, ShellSums] = {}
        self._lock = Lock()

    def summed(self, values: list[float], each: Each) -> torch.Tensor:
        """Return the sum of all masks, each times a value, (n, n, n)."""
        mask, centres = self.whole_mask, self.spheres.centres
        total = unset((self.spheres.box_size,) * 3, np.float32, mask.device)

        def fill(first: int) -> None:
            part = total[first : first + SLAB].zero_()
            for (z, y, x), value in zip(centres, values, strict=True):
                target, source = overlap((z - first, y, x), self.spheres.reach, len(mask), part.shape)
                part[target].add_(mask[source], alpha=value)

        list(each(fill, range(0, len(total), SLAB)))
        return total

    def weight(self, each: Each) -> torch.Tensor:
        """Return the sum of all masks, (n, n, n)."""
        if self._weight is None:
            self._weight = self.summed([1.0] * len(self.spheres.centres), each)
        return self._weight

    def box_shells(self, last: int) -> ShellSums:
        """Return the shells of the box up to one."""
        with self._lock:
            if last not in self._box:
                self._box[last] = ShellSums.of_box(self.spheres.box_size, self.whole_mask.device, last)
            return self._box[last]


def known_spheres(spheres: Spheres, device: str) -> KnownSpheres:
    """Return what is known of spheres: of the last few geometries, if small, it is kept from call to call."""
    small = max(spheres.box_size, 2 * spheres.reach + 1) <= KEPT
    return (_kept_spheres if small else _kept_spheres.__wrapped__)(spheres, device)


@lru_cache(maxsize=2)
def _kept_spheres(spheres: Spheres, device: str) -> KnownSpheres:
    return KnownSpheres(spheres, torch.device(device))


def overlap(centre: Shape, middle: int, side: int, shape: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return what a cube and a box share, in the box and in the cube, with the cube's middle on a centre."""
    low = [c - middle for c in centre]
    starts = [max(a, 0) for a in low]
    stops = [max(start, min(a + side, n)) for start, a, n in zip(starts, low, shape, strict=True)]
    target = tuple(map(slice, starts, stops))
    return target, tuple(slice(i - a, j - a) for i, j, a in zip(starts, stops, low, strict=True))


def _is_smooth(n: int) -> bool:
    for factor in (2, 3):
        while n % factor == 0:
            n //= factor
    return n == 1
