"""The window of a dense local FSC as a convolution, through a coarse grid that holds all of it.

A blur by a Gaussian of sigma is a blur by one of sigma / sqrt(2), twice. What lies between the two is smooth, so
a grid of 0.65 sigma holds it: the sums over its points differ from the integrals by less than 1e-4. Going there and
back is a tenth of the work of a convolution voxel by voxel, the skirt costs nothing on the way, and only one
volume of the answer is ever whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from emres.estimators.slab_transform import SLAB
from emres.volume.grid import Triple

# Standard deviation of a Hann window, in units of its full width.
HANN_SIGMA = math.sqrt(1 / 12 - 1 / (2 * math.pi**2))
# The skirt of the window: times as broad as its core, share of its weight. Both, and the width of the last average
# in units of the core's sigma, are where agreement with RELION and with cctbx is best on simulated half maps
# (tests/estimators/test_agreement.py); a breadth of 3-4 is within 0.01 in Spearman of it. The broader the skirt, the
# farther strong signal tells on voxels that have none.
SKIRT_BREADTH = 3.5
SKIRT_SHARE = 0.3
AVERAGE_BREADTH = 1.6
# Distance of the coarse grid's points, and how far they reach beyond the faces, in sigma of the core.
_STEP, _MARGIN = 0.65, 2.1

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

    def correlation(self, first: Iterable[torch.Tensor], second: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield the correlation of two volumes in the window round every voxel, both in and out slab by slab."""
        y, x = self.down[1:]
        gathered: list[list[torch.Tensor]] = [[], [], []]
        for one, two in zip(first, second, strict=True):
            for products, product in zip(gathered, (one * two, one.square_(), two.square_()), strict=True):
                products.append(y @ (product @ x.T))
        coarse = [self._windowed(_along_z(self.down[0], torch.cat(products))) for products in gathered]
        y, x = self.up[1:]
        for z in torch.split(self.up[0], SLAB):
            cross, power, other = (y @ (_along_z(z, volume) @ x.T) for volume in coarse)
            yield cross.div_(power.mul_(other).clamp_min_(0).sqrt_().clamp_min_(1e-20))

    def average(self, frequency: torch.Tensor) -> torch.Tensor:
        """Return the mean of the positive frequencies round every voxel."""
        total = convolve((frequency > 0).float(), self.mean).clamp_min_(1e-6)
        return convolve(frequency, self.mean).div_(total)

    def _windowed(self, core: torch.Tensor) -> torch.Tensor:
        """Return core and skirt of what lies on the coarse grid."""
        z, y, x = self.skirt
        return core.mul(1 - SKIRT_SHARE).add_(_along_z(z, y @ (core @ x)), alpha=SKIRT_SHARE)


def convolve(volume: torch.Tensor, matrices: Matrices) -> torch.Tensor:
    """Multiply a (z, y, x) volume by one symmetric matrix along each axis, part by part: one more volume of memory."""
    z, y, x = matrices
    blurred = torch.empty_like(volume, memory_format=torch.contiguous_format)
    for target, slab in zip(torch.split(blurred, SLAB), torch.split(volume, SLAB), strict=True):
        torch.matmul(y, slab @ x, out=target)
    for columns in torch.split(blurred.flatten(1), SLAB * len(y), dim=1):
        columns.copy_(z @ columns)
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
