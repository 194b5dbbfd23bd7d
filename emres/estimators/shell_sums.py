"""FSC over the Fourier shells of a box, also from the coarser transform of a window cut out of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from emres.volume.fourier import radial_frequency

# Coefficients that are looked at a time: more do not stay in a processor's cache, and would fill the memory.
_AT_A_TIME = 150_000


class ShellSums:
    """FSC of two volumes over the shells of a box, from a transform that may be coarser than the box's.

    Coefficients fall into narrow radial bins; a small matrix shares the bins between the shells. Where each bin's
    coefficients lie is looked up once: gathered bin after bin they are summed in half the time that scattering takes.

    Parameters
    ----------
    side : int
        Of the transform, n.
    bins : (columns, n, n)
        Bin of every coefficient of the half-complex transform, (x, y, z), of the first columns along x; those of bins
        that no column of ``sharing`` is for are in no shell, and left out.
    sharing : (shells, bins) float64
    """

    def __init__(self, side: int, bins: torch.Tensor, sharing: torch.Tensor) -> None:
        self._side, self._columns, self._shells = side, bins.shape[0], sharing.shape[0]
        self._whole = self._columns == side // 2 + 1 and bins.numel() <= _AT_A_TIME
        # A sort by counting goes byte by byte.
        bins = bins.to(torch.uint8 if sharing.shape[1] < 256 else torch.int16)
        parts = [bins.permute(2, 1, 0)] if self._whole else torch.split(self._near(bins, 1), self._planes)
        self._orders, lengths = zip(*(_members(part.flatten(), sharing.shape[1]) for part in parts), strict=True)
        runs = torch.cat(lengths)
        taken = torch.nonzero(runs)[:, 0]
        self._sharing = sharing.repeat(1, len(parts))[:, taken].T.contiguous()
        # Real and imaginary parts are summed as one.
        self._offsets = 2 * torch.cumsum(torch.nn.functional.pad(runs[taken], (1, 0)), 0)

    @classmethod
    def of_box(cls, box_size: int, device: torch.device, last: int | None = None) -> ShellSums:
        """Return the shells of the box as RELION sums them, up to one or all."""
        last = box_size // 2 if last is None else last
        square = torch.fft.fftfreq(box_size, 1 / box_size, device=device).round_().square_()
        bins = (square[: last + 1, None, None] + square[:, None] + square).sqrt_().round_().clamp_max_(last + 1)
        return cls(box_size, bins, torch.eye(last + 1, dtype=torch.float64, device=device))

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
        return cls(side, bins.permute(2, 1, 0), torch.cat([2 * sharing, sharing], dim=1))

    def coefficients(self, volume: torch.Tensor) -> torch.Tensor:
        """Return what of a volume's transform is in a shell: real and imaginary parts, bin after bin.

        Parameters
        ----------
        volume : (z, y, x) float32
            Of up to n voxels along each axis, or it stands for one with zeros behind it.
        """
        parts = zip(self._transformed(volume), self._orders, strict=True)
        found = [part.flatten().index_select(0, order) for part, order in parts]
        return torch.view_as_real(found[0] if self._whole else torch.cat(found)).flatten()

    def fsc(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return the FSC of two volumes, (shells,) float64, from their coefficients, which are used up."""
        sums = [self._run_sums(values) for values in (first * second, first.square_(), second.square_())]
        shared, power, other = (torch.stack(sums).double() @ self._sharing).unbind()
        return shared / (power * other).sqrt().clamp_min(1e-30)

    @property
    def _planes(self) -> int:
        return max(1, _AT_A_TIME // (self._side * min(self._side, 2 * self._columns - 1)))

    def _near(self, rows: torch.Tensor, dim: int) -> torch.Tensor:
        """Return the frequencies along an axis that may be in a shell: with few columns, few."""
        last = self._columns - 1
        if 2 * last + 1 >= self._side:
            return rows
        return torch.cat([rows.narrow(dim, 0, last + 1), rows.narrow(dim, self._side - last, last)], dim)

    def _transformed(self, volume: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the transform, in parts along x where it is large: it is never held as a whole."""
        n = self._side
        if self._whole:
            yield torch.fft.rfftn(volume, s=(n, n, n))
            return
        lines = torch.fft.rfft(volume, n=n)[..., : self._columns]
        for part in torch.split(lines, self._planes, dim=2):
            # One axis at a time: what is empty, and what is in no shell, is not transformed along the next.
            rows = self._near(torch.fft.fft(part.permute(2, 0, 1), n=n), 2)
            yield torch.fft.fft(rows.transpose(1, 2), n=n)

    def _run_sums(self, values: torch.Tensor) -> torch.Tensor:
        if values.device.type != "cpu":
            return torch.segment_reduce(values, "sum", offsets=self._offsets, unsafe=True)
        # Three times as fast as torch, and rounded less: in pairs.
        return torch.from_numpy(np.add.reduceat(values.numpy(), self._offsets[:-1].numpy()))


def _members(bins: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where the coefficients of the first ``count`` bins lie, bin after bin, and how many each has."""
    lengths = torch.bincount(bins, minlength=count)[:count]
    return torch.argsort(bins, stable=True)[: int(lengths.sum())].int(), lengths
