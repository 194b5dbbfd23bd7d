"""FSC over the Fourier shells of a box, also from the coarser transform of a window cut out of it."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from emres.volume.fourier import radial_frequency

# Coefficients that are summed at a time: more do not stay in a processor's cache, and would fill the memory.
_AT_A_TIME = 150_000


class ShellSums:
    """FSC of pairs of volumes over the shells of a box, from a transform that may be coarser than the box's.

    Coefficients fall into narrow radial bins; a small matrix shares the bins between the shells. Where each bin's
    coefficients lie is looked up once: gathered bin after bin they are summed in half the time that scattering takes.

    Parameters
    ----------
    bins : (n, n, n // 2 + 1)
        Bin of every coefficient of the half-complex transform; those of the last one are in no shell, and left out.
    sharing : (shells, bins - 1) float64
    """

    def __init__(self, bins: torch.Tensor, sharing: torch.Tensor) -> None:
        self._side, self._sharing = bins.shape[0], sharing
        self._whole = bins.numel() <= _AT_A_TIME
        # A sort by counting goes byte by byte.
        bins = bins.to(torch.uint8 if sharing.shape[1] < 256 else torch.int16)
        planes = bins[None] if self._whole else torch.split(bins.permute(2, 0, 1), max(1, _AT_A_TIME // self._side**2))
        self._members = [_members(part.flatten(), sharing.shape[1]) for part in planes]

    @classmethod
    def of_box(cls, box_size: int, device: torch.device) -> ShellSums:
        """Return the shells of the box as RELION sums them."""
        shells = box_size // 2 + 1
        bins = radial_frequency((box_size,) * 3, 1 / box_size, str(device)).round_().clamp_max_(shells)
        return cls(bins, torch.eye(shells, dtype=torch.float64, device=device))

    @classmethod
    def of_window(cls, side: int, box_size: int, device: torch.device, fineness: int = 4) -> ShellSums:
        """Return the same shells read off the transform of a window, a triangle each."""
        shells = box_size // 2 + 1
        steps = fineness * shells
        bins = (radial_frequency((side,) * 3, 1 / box_size, str(device)) * fineness).round_()
        beyond = bins >= steps
        # Columns that stand for themselves alone, not for their mirror image too, have bins of their own.
        single = [0] if side % 2 else [0, -1]
        bins[..., single] += steps
        bins[beyond] = 2 * steps
        position = torch.arange(steps, device=device) / fineness
        reach = max(1.0, box_size / side)
        offset = (position[None, :] - torch.arange(shells, device=device)[:, None]).abs() / reach
        sharing = (1 - offset).clamp_min(0.0).double()
        return cls(bins, torch.cat([2 * sharing, sharing], dim=1))

    def fsc(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return the FSC of two volumes, (shells,) float64; a smaller volume stands for one with zeros behind it."""
        sums = torch.zeros((3, self._sharing.shape[1]), dtype=torch.float64, device=first.device)
        parts = zip(self._transformed(first), self._transformed(second), self._members, strict=True)
        for one, two, (order, lengths) in parts:
            # As real numbers: complex ones take twice as long.
            a, b = (torch.view_as_real(part.flatten().index_select(0, order)).flatten() for part in (one, two))
            for total, product in zip(sums, (a * b, a.square_(), b.square_()), strict=True):
                total += torch.segment_reduce(product, "sum", lengths=lengths, unsafe=True)
        shared, power, other = (sums @ self._sharing.T).unbind()
        return shared / (power * other).sqrt().clamp_min(1e-30)

    def _transformed(self, volume: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the transform, in parts along x where it is large: it is never held as a whole."""
        n = self._side
        if self._whole:
            yield torch.fft.rfftn(volume, s=(n, n, n))
            return
        planes = torch.fft.rfft(volume, n=n, dim=2).permute(2, 0, 1)
        for part in torch.split(planes, max(1, _AT_A_TIME // n**2)):
            yield torch.fft.fft2(part, s=(n, n))


def _members(bins: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where the coefficients of the first ``count`` bins lie, bin after bin, and twice how many each has.

    Twice: real and imaginary parts are summed as one.
    """
    lengths = torch.bincount(bins, minlength=count)[:count]
    order = torch.argsort(bins, stable=True)[: int(lengths.sum())]
    return order.int(), 2 * lengths
