"""The window of a dense local FSC as a convolution, through a coarse grid that holds all of it.

A blur by a Gaussian of sigma is a blur by one of sigma / sqrt(2), twice. What lies between the two is smooth, so
a grid of 0.65 sigma holds it: the sums over its points differ from the integrals by less than 1e-4. Going there and
back is a tenth of the work of a convolution voxel by voxel, the skirt costs nothing on the way, and only one
volume of the answer is ever whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from emres.estimators.side_by_side import Each
from emres.volume.grid import Triple
from emres.volume.local_window import AVERAGE_BREADTH, HANN_SIGMA, SKIRT_BREADTH, SKIRT_SHARE

# Distance of the coarse grid's points, and how far they reach beyond the faces, in sigma of the core.
_STEP, _MARGIN = 0.65, 2.1

# Sections that are worked on at a time: with more, what a thread holds in passing adds up to a volume.
SECTIONS = 8

Matrices = list[torch.Tensor]


@dataclass(frozen=True)
class WindowBlur:
    """The window as a convolution, zero beyond the faces.

    Every axis is one matrix product: fast on CPU and GPU alike. The ratio of two blurs needs no correction at the
    faces.

    Parameters
    ----------
    down, skirt, up : three matrices each, z, y, x
        From n voxels to m coarse points; the skirt there, (m, m); back again.
    mean : three (n, n) matrices
        The Gaussian of the last average.
    """

    down: Matrices
    skirt: Matrices
    up: Matrices
    mean: Matrices

    @classmethod
    def of(cls, volume: torch.Tensor, voxel_size: Triple, window: float) -> WindowBlur:
        """Return the blur of a window (Å) for volumes like this one."""
        down, skirt, up, mean = [], [], [], []
        for n, size in zip(volume.shape, voxel_size, strict=True):
            sigma = HANN_SIGMA * window / size
            voxels = torch.arange(n, device=volume.device, dtype=torch.float32)
            points = _coarse_points(n, sigma, volume.device)
            down.append(gaussian(points, voxels, sigma / math.sqrt(2)))
            up.append(down[-1].T * (_STEP * sigma))
            skirt.append(gaussian(points, points, sigma * math.sqrt(SKIRT_BREADTH**2 - 1)) * (_STEP * sigma))
            mean.append(gaussian(voxels, voxels, AVERAGE_BREADTH * sigma))
        return cls(down, skirt, up, mean)

    def room(self) -> torch.Tensor:
        """Return room for what is gathered: three products, (3, z, coarse y, coarse x)."""
        z, y, x = self.down
        return torch.empty((3, z.shape[1], len(y), len(x)), device=z.device)

    def gather(self, first: torch.Tensor, second: torch.Tensor, room: torch.Tensor) -> None:
        """Put the products of some sections of two volumes, which are used up, on the coarse grid of y and x."""
        y, x = self.down[1:]
        for n, place in enumerate(room):
            # One at a time: none is held longer than it takes.
            product = first * second if n == 0 else (first, second)[n - 1].square_()
            torch.matmul(y, product @ x.T, out=place)

    def windowed(self, room: torch.Tensor) -> list[torch.Tensor]:
        """Return core and skirt of the three products on the coarse grid, from the sections of all of z."""
        z, y, x = self.skirt
        coarse = (_along_z(self.down[0], product) for product in room)
        return [core.mul(1 - SKIRT_SHARE).add_(_along_z(z, y @ (core @ x)), alpha=SKIRT_SHARE) for core in coarse]

    def correlation(self, windowed: list[torch.Tensor], start: int) -> torch.Tensor:
        """Return the correlation in the window round every voxel of the sections from ``start`` on."""
        z, (y, x) = self.up[0][start : start + SECTIONS], self.up[1:]
        cross, power, other = (y @ (_along_z(z, volume) @ x.T) for volume in windowed)
        return cross.div_(power.mul_(other).clamp_min_(0).sqrt_().clamp_min_(1e-20))

    def average(self, frequency: torch.Tensor, each: Each = map) -> torch.Tensor:
        """Return the mean of the positive frequencies round every voxel."""
        total = convolve(frequency > 0, self.mean, each).clamp_min_(1e-6)
        return convolve(frequency, self.mean, each).div_(total)


def convolve(volume: torch.Tensor, matrices: Matrices, each: Each = map) -> torch.Tensor:
    """Multiply a (z, y, x) volume by one symmetric matrix along each axis, part by part: one more volume of memory."""
    z, y, x = matrices
    blurred = torch.empty(volume.shape, device=volume.device)
    columns = torch.split(blurred.flatten(1), SECTIONS * len(y), dim=1)
    slabs = list(zip(torch.split(blurred, SECTIONS), torch.split(volume, SECTIONS), strict=True))
    list(each(lambda pair: torch.matmul(y, pair[1].float() @ x, out=pair[0]), slabs))
    list(each(lambda part: part.copy_(z @ part), columns))
    return blurred


def gaussian(to: torch.Tensor, start: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return the (to, start) matrix of a Gaussian density of ``sigma`` voxels, cut at 4 sigma."""
    distance = (to[:, None] - start[None, :]).abs() / sigma
    density = torch.exp(-0.5 * distance.square()) / (sigma * math.sqrt(2 * math.pi))
    return torch.where(distance <= 4, density, 0.0)


def _coarse_points(n: int, sigma: float, device: torch.device) -> torch.Tensor:
    # The same from either face, so that a turn of the map turns the answer.
    half = math.ceil(((n - 1) / 2 + _MARGIN * sigma) / (_STEP * sigma))
    return torch.arange(-half, half + 1, device=device, dtype=torch.float32) * (_STEP * sigma) + (n - 1) / 2


def _along_z(matrix: torch.Tensor, volume: torch.Tensor) -> torch.Tensor:
    product: torch.Tensor = matrix @ volume.flatten(1)
    return product.view(-1, *volume.shape[1:])
