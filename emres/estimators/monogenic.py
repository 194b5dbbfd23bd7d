"""The monogenic amplitude of a volume: its envelope, from the Riesz transform, beyond one frequency after the other."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from emres.volume.fourier import inverse_transform, radial_frequency

# Width of the raised-cosine flank of both filters, 1/voxel.
FLANK = 0.02


@dataclass(frozen=True)
class Voxels:
    """Some voxels of a volume, by the rows along x that hold them: other rows need no transform.

    Parameters
    ----------
    rows : (r,) int64
        Of the z * y rows of the volume.
    index : (n,) int64
        Into these rows, one after the other.
    """

    rows: torch.Tensor
    index: torch.Tensor

    @classmethod
    def of(cls, mask: torch.Tensor) -> Voxels:
        """Return the voxels of a mask, in the order of memory."""
        rows = torch.nonzero(mask.any(dim=2).flatten()).squeeze(1)
        return cls(rows, torch.nonzero(mask.flatten(0, 1)[rows].flatten()).squeeze(1))

    def take(self, volume: torch.Tensor) -> torch.Tensor:
        """Return the values of a volume there."""
        return volume.flatten(0, 1)[self.rows].flatten()[self.index]


@dataclass(frozen=True)
class Band:
    """Two low-passes at one frequency, on the columns of Fourier space that they leave.

    Parameters
    ----------
    columns : int
        How many of the last axis, from zero frequency on.
    below : (z, y, columns) float32
        What the high-pass takes away.
    smooth : (z, y, columns) float32
        What is left of the envelope.
    """

    columns: int
    below: torch.Tensor
    smooth: torch.Tensor


@dataclass(frozen=True)
class FourierSpace:
    """Frequencies of the half-complex transform of volumes of one shape.

    Parameters
    ----------
    shape : (z, y, x) voxels
    radius : (z, y, x // 2 + 1) float32
        1/voxel.
    axes : three float32 tensors that broadcast to it
        1/voxel along z, y and x.
    """

    shape: torch.Size
    radius: torch.Tensor
    axes: tuple[torch.Tensor, torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, volume: torch.Tensor) -> FourierSpace:
        """Return the space of a volume."""
        device = volume.device
        z, y = (_signed_frequency(n, device) for n in volume.shape[:2])
        x = torch.fft.rfftfreq(volume.shape[2], device=device)
        radius = radial_frequency(volume.shape, 1.0, str(device))
        return cls(volume.shape, radius, (z[:, None, None], y[None, :, None], x[None, None, :]))

    def band(self, frequency: float) -> Band:
        """Return the low-passes that belong to a frequency, 1/voxel."""
        columns = min(math.ceil((frequency + FLANK) * self.shape[2]) + 1, self.radius.shape[2])
        radius = self.radius[..., :columns]
        below, smooth = (
            _raised_cosine(((end - radius) / FLANK).clamp_(0.0, 1.0)) for end in (frequency, frequency + FLANK)
        )
        return Band(columns, below, smooth)

    def riesz(self, spectrum: torch.Tensor) -> Iterator[torch.Tensor]:
        """Give the three Riesz transforms of a spectrum, or of its first columns."""
        columns = slice(0, spectrum.shape[2])
        turned = (spectrum * -1j).div_(self.radius[..., columns].clamp_min(1e-9))
        for axis in self.axes:
            yield turned * axis[..., columns]


class MonogenicAmplitude:
    """The envelope of what a volume holds beyond a frequency.

    What is *not* beyond a low frequency fits into a few columns of Fourier space, so the volume and its Riesz
    transforms are kept, and what a level takes away from each is transformed back from those columns alone.

    Parameters
    ----------
    volume : (z, y, x) float32
    space : FourierSpace
        Of its shape.
    """

    def __init__(self, volume: torch.Tensor, space: FourierSpace) -> None:
        self._space, self._spectrum = space, torch.fft.rfftn(volume)
        self._parts = [volume, *(inverse_transform(part, space.shape) for part in space.riesz(self._spectrum))]

    def __call__(self, band: Band, voxels: Voxels) -> torch.Tensor:
        """Return the low-passed envelope of the volume high-passed at a frequency, at some voxels."""
        space = self._space
        spectrum = self._spectrum[..., : band.columns] * band.below
        lows = itertools.chain([spectrum], space.riesz(spectrum))
        beyond = (part - inverse_transform(low, space.shape) for part, low in zip(self._parts, lows, strict=True))
        rows = torch.fft.rfft(_length(beyond))[..., : band.columns]
        smooth = torch.fft.fftn(rows, dim=(0, 1)).mul_(band.smooth)
        wanted = torch.fft.ifftn(smooth, dim=(0, 1)).flatten(0, 1)[voxels.rows]
        envelope: torch.Tensor = torch.fft.irfft(wanted, n=space.shape[2]).flatten()[voxels.index]
        return envelope

    def unfiltered(self) -> torch.Tensor:
        """Return the envelope of the whole volume."""
        return _length(part.clone() for part in self._parts)


def _length(parts: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return the Euclidean norm of a vector field; its components are overwritten."""
    return functools.reduce(torch.Tensor.add_, (part.square_() for part in parts)).sqrt_()


def _raised_cosine(share: torch.Tensor) -> torch.Tensor:
    """Return 0 at 0, 1 at 1 and half a cosine between."""
    return share.mul_(-math.pi).cos_().mul_(-0.5).add_(0.5)


def _signed_frequency(n: int, device: torch.device) -> torch.Tensor:
    """Return the frequencies of an axis, 1/voxel, Nyquist positive as the half-complex axis has it."""
    frequency = torch.fft.fftfreq(n, device=device)
    return torch.where(frequency == -0.5, 0.5, frequency)
