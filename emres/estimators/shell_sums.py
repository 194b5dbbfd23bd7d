"""FSC over the Fourier shells of a box, also from the coarser transform of a window cut out of it."""

from __future__ import annotations

import torch

from emres.volume.fourier import radial_frequency


class ShellSums:
    """FSC of pairs of volumes over the shells of a box, from a transform that may be coarser than the box's.

    Coefficients fall into narrow radial bins; a small matrix shares the bins between the shells.
    """

    def __init__(self, bins: torch.Tensor, sharing: torch.Tensor) -> None:
        self._bins, self._sharing = bins, sharing

    @classmethod
    def of_box(cls, box_size: int, device: torch.device) -> ShellSums:
        """Return the shells of the box as RELION sums them."""
        shells = box_size // 2 + 1
        index = radial_frequency((box_size,) * 3, 1 / box_size, str(device)).round().long().clamp_max_(shells)
        sharing = torch.eye(shells, shells + 1, dtype=torch.float64, device=device)
        return cls(index.flatten(), sharing)

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
        return cls(bins.flatten(), torch.cat([2 * sharing, sharing], dim=1))

    def fsc(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the FSC of volumes 1 and 2, 3 and 4, ...: (2 n, z, y, x) -> (n, shells) float64."""
        return torch.stack([self._fsc(*pair) for pair in zip(volumes[0::2], volumes[1::2], strict=True)])

    def _fsc(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        # One volume at a time, real and imaginary parts apart: twice as fast as a batch of complex numbers.
        spectra = (torch.fft.rfftn(volume).flatten() for volume in (first, second))
        (a, b), (c, d) = ((spectrum.real.contiguous(), spectrum.imag.contiguous()) for spectrum in spectra)
        shared = self._sums((a * c).addcmul_(b, d))
        powers = [self._sums(real.square_().addcmul_(imag, imag)) for real, imag in ((a, b), (c, d))]
        return shared / (powers[0] * powers[1]).sqrt().clamp_min(1e-30)

    def _sums(self, values: torch.Tensor) -> torch.Tensor:
        bins = torch.zeros(self._sharing.shape[1], device=values.device)
        return self._sharing @ bins.index_add_(0, self._bins, values).double()
