"""FSC over the Fourier shells of a box, also from the coarser transform of a window cut out of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from emres.volume.fourier import radial_frequency

# Coefficients that are looked at a time: more do not stay in a processor's cache, and would fill the memory.
_AT_A_TIME = 150_000
# Shares of the shells after which it is asked whether they suffice: most curves have crossed by then.
_STRETCHES = (0.65, 1.0)
Curve = np.ndarray[Any, np.dtype[np.float64]]


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
        Bins from the lowest frequency to the highest.
    """

    def __init__(self, side: int, bins: torch.Tensor, sharing: torch.Tensor) -> None:
        self._side, self._columns, self._shells = side, bins.shape[0], sharing.shape[0]
        self._whole = self._columns == side // 2 + 1 and bins.numel() <= _AT_A_TIME
        # A sort by counting goes byte by byte.
        bins = bins.to(torch.uint8 if sharing.shape[1] < 255 else torch.int16)
        parts = [bins.permute(2, 1, 0)] if self._whole else torch.split(self._near(bins, 1), self._planes)
        self._orders, lengths = zip(*(_members(part.flatten(), sharing.shape[1]) for part in parts), strict=True)
        count, ends = sharing.shape[1], _STRETCHES if self._whole else (1.0,)
        edges = [0, *(math.ceil(end * count) for end in ends)]
        self._stretches, start = [], 0
        for first, stop in itertools.pairwise(edges):
            runs = torch.cat([length[first:stop] for length in lengths])
            share = sharing[:, first:stop].repeat(1, len(parts))
            # Beyond the first shell that a later bin has a share in, shells are not complete.
            later = torch.nonzero(sharing[:, stop:].any(dim=1))
            complete = int(later[0]) if len(later) else self._shells
            self._stretches.append(_Stretch.of(start, runs, share, complete))
            start = self._stretches[-1].place.stop

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
        bins = (radial_frequency((side,) * 3, 1 / box_size, str(device)) * fineness).round_().clamp_max_(steps).mul_(2)
        # Columns that stand for themselves alone, not for their mirror image too, have bins of their own.
        single = [0] if side % 2 else [0, -1]
        bins[..., single] += 1
        position = torch.arange(steps, device=device) / fineness
        reach = max(1.0, box_size / side)
        offset = (position[None, :] - torch.arange(shells, device=device)[:, None]).abs() / reach
        sharing = (1 - offset).clamp_min(0.0).double()
        return cls(side, bins.permute(2, 1, 0), torch.stack([2 * sharing, sharing], dim=2).flatten(1))

    def fsc(self, pair: Iterable[torch.Tensor]) -> Iterator[Curve]:
        """Yield the FSC of two volumes up to more and more shells: who has seen enough asks no further.

        Parameters
        ----------
        pair : two (z, y, x) float32
            Of up to n voxels along each axis, or they stand for volumes with zeros behind them. Each is used up before
            the next is asked for.
        """
        spectra, early = [], []
        for volume in pair:
            spectra.append(self._coefficients(volume))
            # At once: the next transform drives this one out of a processor's cache.
            early.append(self._gathered(spectra[-1], self._stretches[0].place))
        sums = self._stretches[0].sums(*early)
        early.clear()
        for done, upcoming in zip(self._stretches, (*self._stretches[1:], None), strict=True):
            if upcoming is None:
                spectra.clear()
            shared, power, other = sums[:, : done.complete].cpu().numpy()
            yield shared / np.maximum(np.sqrt(power * other), 1e-30)
            if upcoming is not None:
                sums += upcoming.sums(*(self._gathered(spectrum, upcoming.place) for spectrum in spectra))

    def _coefficients(self, volume: torch.Tensor) -> torch.Tensor:
        """Return a transform, of which what is in a shell is yet to be gathered; or, of a large one, that alone."""
        parts = (part.flatten() for part in self._transformed(volume))
        if self._whole:
            return next(parts)
        found = [part.index_select(0, order) for part, order in zip(parts, self._orders, strict=True)]
        return torch.cat(found)

    def _gathered(self, spectrum: torch.Tensor, place: slice) -> torch.Tensor:
        """Return real and imaginary parts, bin after bin."""
        found = spectrum.index_select(0, self._orders[0][place]) if self._whole else spectrum
        return torch.view_as_real(found).flatten()

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


@dataclass(frozen=True)
class _Stretch:
    """Bins that are summed at a time.

    Parameters
    ----------
    place : slice
        Of its coefficients among all.
    offsets : (runs + 1,) int64
        Where the bins that hold any begin and end, in real and imaginary parts, which are summed as one.
    starts : (runs,) int64
        The same without the last, for numpy.
    sharing : (runs, shells) float64
    complete : int
        How many shells are complete with it.
    """

    place: slice
    offsets: torch.Tensor
    starts: np.ndarray[Any, np.dtype[np.int64]]
    sharing: torch.Tensor
    complete: int

    @classmethod
    def of(cls, start: int, runs: torch.Tensor, sharing: torch.Tensor, complete: int) -> _Stretch:
        """Return the stretch of bins of so many coefficients each, some of which may have none."""
        taken = torch.nonzero(runs)[:, 0]
        offsets = 2 * torch.cumsum(torch.nn.functional.pad(runs[taken], (1, 0)), 0)
        place = slice(start, start + int(runs.sum()))
        return cls(place, offsets, offsets[:-1].cpu().numpy(), sharing[:, taken].T.contiguous(), complete)

    def sums(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return products and both powers, summed over shells, (3, shells), from values, which are used up."""
        products = (first * second, first.square_(), second.square_())
        return torch.stack([self._run_sums(values) for values in products]).double() @ self.sharing

    def _run_sums(self, values: torch.Tensor) -> torch.Tensor:
        if values.device.type != "cpu":
            return torch.segment_reduce(values, "sum", offsets=self.offsets, unsafe=True)
        # Three times as fast as torch, and rounded less: in pairs.
        return torch.from_numpy(np.add.reduceat(values.numpy(), self.starts))


def _members(bins: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where the coefficients of the first ``count`` bins lie, bin after bin, and how many each has."""
    lengths = torch.bincount(bins, minlength=count)[:count]
    return torch.argsort(bins, stable=True)[: int(lengths.sum())].int(), lengths
