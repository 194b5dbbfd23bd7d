"""The monogenic amplitude of a volume: its envelope, from the Riesz transform, beyond one frequency after the other.

Memory is what limits the volumes that can be measured, so nothing here is as large as a volume but what must be: the
volume, its three Riesz transforms, its spectrum, and one array each of space and of Fourier space to work in. All
else is done a few planes at a time, which is also what fits into a processor's cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

from emres.estimators.chosen import how_many

# Width of the raised-cosine flank of both filters, 1/voxel.
FLANK = 0.02
# Values worked on at once: what a cache holds, or what keeps an accelerator busy.
_AT_ONCE_CPU, _AT_ONCE_ELSEWHERE = 2**17, 2**25

# Radial frequencies (1/voxel) -> weights; the tensor may be overwritten.
Filter = Callable[[torch.Tensor], torch.Tensor]


class Sliceable(Protocol):
    """A volume, or what stands for one."""

    def __getitem__(self, sections: slice, /) -> torch.Tensor:
        """Return some sections along z."""
        ...


@dataclass(frozen=True)
class Voxels:
    """Some voxels of a volume, in the order of memory, by the rows along x that hold them: others are never computed.

    Parameters
    ----------
    slabs : tuple of (slice, (r,) int64, (r, x) bool)
        A few sections along z; which of their z * y rows hold voxels; which values of these rows they are.
    """

    slabs: tuple[tuple[slice, torch.Tensor, torch.Tensor], ...]

    @classmethod
    def of(cls, mask: torch.Tensor) -> Voxels:
        """Return the voxels of a (z, y, x) mask."""
        slabs = []
        for sections in _portions(mask.shape[0], mask[0].numel(), mask.device):
            here = mask[sections].flatten(0, 1)
            rows = torch.nonzero(here.any(dim=1)).squeeze(1)
            if len(rows):
                slabs.append((sections, rows, here[rows]))
        return cls(tuple(slabs))

    def __len__(self) -> int:
        """How many."""
        return sum(how_many(chosen) for _, _, chosen in self.slabs)


class MonogenicAmplitude:
    """The envelope of what a volume holds beyond a frequency.

    What is *not* beyond a low frequency fits into a few columns of Fourier space, so the volume and its Riesz
    transforms are kept, and what a level takes away from each is transformed back from those columns alone.

    Parameters
    ----------
    shape : (z, y, x) voxels
    device : torch.device
    """

    def __init__(self, shape: torch.Size, device: torch.device) -> None:
        self._shape = shape
        self._frequencies = _frequencies(self._shape, device)
        # x comes first in Fourier space: the columns that a low-pass leaves, and any few of them, lie together.
        columns = (len(self._frequencies[2]), *shape[:2])
        self._spectrum, self._work = torch.empty((2, *columns), dtype=torch.complex64, device=device)
        self._sum, *self._parts = torch.empty((4, *shape), device=device)

    def load(self, volume: Sliceable) -> MonogenicAmplitude:
        """Take another volume, (z, y, x) float32, which is kept, not copied: anything that gives sections along z."""
        self._volume = volume
        self._to_columns(volume, self._spectrum)
        for some in self._columns(len(self._spectrum)):
            self._spectrum[some] = torch.fft.fftn(self._spectrum[some], dim=(1, 2))
        for axis, part in enumerate(self._parts):
            for sections, values in self._riesz(axis, len(self._spectrum), torch.ones_like):
                part[sections] = values
        return self

    def beyond(self, frequency: float, *regions: Voxels) -> list[torch.Tensor]:
        """Return the low-passed envelope of the volume high-passed at a frequency (1/voxel), at some voxels."""
        columns = min(math.ceil((frequency + FLANK) * self._shape[2]) + 1, len(self._spectrum))
        self._sum.zero_()
        for axis, part in enumerate((self._volume, *self._parts), start=-1):
            for sections, low in self._riesz(axis, columns, _below(frequency)):
                self._sum[sections] += low.sub_(part[sections]).square_()
        return self._filtered_length(_below(frequency + FLANK), columns, regions)

    def blurred(self, sigma: float, *regions: Voxels) -> list[torch.Tensor]:
        """Return the envelope of the whole volume, blurred by a Gaussian (voxels), at some voxels."""
        self._sum.zero_()
        for part in (self._volume, *self._parts):
            for sections in self._sections():
                self._sum[sections] += part[sections].square()
        fall = -2 * (math.pi * sigma) ** 2
        return self._filtered_length(lambda radius: radius.square_().mul_(fall).exp_(), len(self._spectrum), regions)

    def _riesz(self, axis: int, columns: int, weights: Filter) -> Iterator[tuple[slice, torch.Tensor]]:
        """Give what a filter leaves, turned along z, y or x (0, 1, 2; not at all at -1), a few sections at a time."""
        for some in self._columns(columns):
            radius = self._radius(some)
            weight = weights(radius.clone())
            if axis >= 0:
                weight.mul_(self._odd(axis, some)).div_(radius.clamp_min_(1e-9))
            part = self._spectrum[some] * weight
            if axis >= 0:
                part.mul_(-1j)
            self._work[some] = torch.fft.ifftn(part, dim=(1, 2))
        rows = self._work[:columns].permute(1, 2, 0)
        for sections in self._sections():
            yield sections, torch.fft.irfft(rows[sections], n=self._shape[2], dim=2)

    def _filtered_length(self, weights: Filter, columns: int, regions: tuple[Voxels, ...]) -> list[torch.Tensor]:
        """Return the square root of the sum, filtered by the first columns of Fourier space, at some voxels."""
        work = self._work[:columns]
        self._to_columns(self._sum, work, torch.Tensor.sqrt_)
        for some in self._columns(columns):
            smooth = torch.fft.fftn(work[some], dim=(1, 2)).mul_(weights(self._radius(some)))
            work[some] = torch.fft.ifftn(smooth, dim=(1, 2))
        return [self._values(work, voxels) for voxels in regions]

    def _values(self, columns: torch.Tensor, voxels: Voxels) -> torch.Tensor:
        values: torch.Tensor = self._sum.new_empty(len(voxels))
        done = 0
        for sections, rows, chosen in voxels.slabs:
            wanted = columns[:, sections].flatten(1)[:, rows].T
            here = torch.fft.irfft(wanted, n=self._shape[2], dim=1)[chosen]
            values[done : done + len(here)] = here
            done += len(here)
        return values

    def _to_columns(
        self, volume: Sliceable, columns: torch.Tensor, prepared: Callable[[torch.Tensor], torch.Tensor] | None = None
    ) -> None:
        """Transform the rows of a volume along x and keep their first columns."""
        turned = columns.permute(1, 2, 0)
        for sections in self._sections():
            part = volume[sections]
            turned[sections] = torch.fft.rfft(prepared(part) if prepared else part, dim=2)[..., : len(columns)]

    def _radius(self, some: slice) -> torch.Tensor:
        """Return the radial frequency, 1/voxel, of some columns."""
        squared: torch.Tensor = sum(self._along(axis, some).square() for axis in range(3))  # type: ignore[assignment]
        return squared.sqrt_()

    def _along(self, axis: int, some: slice) -> torch.Tensor:
        """Return the frequency along z, y or x, 1/voxel, of some columns; it broadcasts to (x, z, y)."""
        frequency = self._frequencies[axis]
        return (frequency[None, :, None], frequency[None, None, :], frequency[some, None, None])[axis]

    def _odd(self, axis: int, some: slice) -> torch.Tensor:
        """Return the same but 0 at Nyquist, which is as much -Nyquist: so a volume turned by 90 degrees is turned."""
        along = self._along(axis, some)
        return along.masked_fill(along == 0.5, 0.0)

    def _columns(self, count: int) -> list[slice]:
        """Return the first columns of Fourier space, a few at a time."""
        return _portions(count, self._shape[0] * self._shape[1], self._spectrum.device)

    def _sections(self) -> list[slice]:
        """Return the sections along z, a few at a time."""
        return _portions(self._shape[0], self._shape[1] * self._shape[2], self._spectrum.device)


def _portions(planes: int, plane: int, device: torch.device) -> list[slice]:
    """Return slices of a few planes (of so many values each) that follow each other."""
    at_once = _AT_ONCE_CPU if device.type == "cpu" else _AT_ONCE_ELSEWHERE
    step = max(1, at_once // plane)
    return [slice(start, min(start + step, planes)) for start in range(0, planes, step)]


def _below(frequency: float) -> Filter:
    """Return the low-pass of a frequency (1/voxel): 1 up to a flank before it, half a cosine, 0."""
    return lambda radius: (
        radius.sub_(frequency).div_(-FLANK).clamp_(0.0, 1.0).mul_(-math.pi).cos_().mul_(-0.5).add_(0.5)
    )


def _frequencies(shape: torch.Size, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the frequencies along z, y and half of x, 1/voxel; Nyquist is positive, as the half axis has it."""
    z, y = (torch.fft.fftfreq(n, device=device) for n in shape[:2])
    z, y = (torch.where(frequency == -0.5, 0.5, frequency) for frequency in (z, y))
    return z, y, torch.fft.rfftfreq(shape[2], device=device)
