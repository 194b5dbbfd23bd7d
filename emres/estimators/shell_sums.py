"""FSC over the Fourier shells of a box, also from the coarser transform of a window cut out of it."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from emres.volume.fourier import radial_frequency

# Coefficients that are summed at a time: more do not stay in a processor's cache, and would fill the memory.
_AT_A_TIME = 150_000

Parts = Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]


class ShellSums:
    """FSC of pairs of volumes over the shells of a box, from a transform that may be coarser than the box's.

    Coefficients fall into narrow radial bins; a small matrix shares the bins between the shells.
    """

    def __init__(self, bins: torch.Tensor, sharing: torch.Tensor) -> None:
        self._in_parts = bins.numel() > _AT_A_TIME
        # Part by part z is transformed last, and then lies last in memory.
        self._bins = bins.permute(1, 2, 0).contiguous() if self._in_parts else bins
        self._sharing = sharing

    @classmethod
    def of_box(cls, box_size: int, device: torch.device) -> ShellSums:
        """Return the shells of the box as RELION sums them."""
        shells = box_size // 2 + 1
        index = radial_frequency((box_size,) * 3, 1 / box_size, str(device)).round_().clamp_max_(shells).int()
        sharing = torch.eye(shells, shells + 1, dtype=torch.float64, device=device)
        return cls(index, sharing)

    @classmethod
    def of_window(cls, side: int, box_size: int, device: torch.device, fineness: int = 4) -> ShellSums:
        """Return the same shells read off the transform of a window, a triangle each."""
        shells = box_size // 2 + 1
        frequency = radial_frequency((side,) * 3, 1 / box_size, str(device))
        bins = (frequency * fineness).round().long().clamp_max_(fineness * shells)
        # Columns that stand for themselves alone, not for their mirror image too, have bins of their own.
        single = [0] if side % 2 else [0, -1]
        bins[..., single] += fineness * shells + 1
        position = torch.arange(fineness * shells + 1, device=device) / fineness
        reach = max(1.0, box_size / side)
        offset = (position[None, :] - torch.arange(shells, device=device)[:, None]).abs() / reach
        sharing = (1 - offset).clamp_min(0.0).double()
        sharing[:, -1] = 0.0
        return cls(bins.int(), torch.cat([2 * sharing, sharing], dim=1))

    def fsc(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return the FSC of two volumes, (shells,) float64; a smaller volume stands for one with zeros behind it."""
        sums = torch.zeros((3, self._sharing.shape[1]), device=first.device)
        for *spectra, bins in self._parts(first, second):
            # Real and imaginary parts apart: twice as fast as complex numbers.
            (a, b), (c, d) = ((part.real.contiguous(), part.imag.contiguous()) for part in spectra)
            products = ((a * c).addcmul_(b, d), a.square_().addcmul_(b, b), c.square_().addcmul_(d, d))
            for total, values in zip(sums, products, strict=True):
                total.index_add_(0, bins.flatten(), values.flatten())
        shared, power, other = (sums.double() @ self._sharing.T).unbind()
        return shared / (power * other).sqrt().clamp_min(1e-30)

    def _parts(self, first: torch.Tensor, second: torch.Tensor) -> Parts:
        """Yield the two transforms and the bins, in parts where they are large.

        Zeros cost nothing before their axis is transformed, and the last axis goes part by part: two transforms of
        a whole box are never held.
        """
        n = self._bins.shape[0]
        if not self._in_parts:
            yield torch.fft.rfftn(first, s=(n, n, n)), torch.fft.rfftn(second, s=(n, n, n)), self._bins
            return
        rows = max(1, _AT_A_TIME // self._bins[0].numel())
        columns = [torch.split(_columns(volume, n), rows) for volume in (first, second)]
        for one, two, bins in zip(*columns, torch.split(self._bins, rows), strict=True):
            yield torch.fft.fft(one, n=n, dim=2), torch.fft.fft(two, n=n, dim=2), bins


def _columns(volume: torch.Tensor, n: int) -> torch.Tensor:
    """Return a volume transformed along x and y, (y, x, z)."""
    planes: torch.Tensor = torch.fft.fft(torch.fft.rfft(volume, n=n, dim=2), n=n, dim=1)
    return planes.permute(1, 2, 0)
