"""MonoRes' sweep: which resolutions are tried, and at which of them a voxel closes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from emres.errors import UsageError
from emres.estimators.chosen import how_many
from emres.volume.fourier import voxel_sizes
from emres.volume.grid import Triple

# One-sided 95 % of the normal distribution; share of the mask at which the sweep ends; signal worth going on for.
Z_SCORE = 1.645
LEFT_SHARE = 0.025
SIGNAL_SHARE = 0.001

# Values whose moments are taken at once.
_PASS = 2**17


@dataclass(frozen=True)
class Sweep:
    """The resolutions that are tried, coarse to fine.

    Parameters
    ----------
    resolutions : tuple of float, Å
        Each a whole number of Fourier pixels of the longest edge.
    voxel_size : float, Å
    step : float, Å
    """

    resolutions: tuple[float, ...]
    voxel_size: float
    step: float

    @classmethod
    def of(
        cls, volume: torch.Tensor, voxel_size: float | Triple, coarsest: float | None, finest: float | None, step: float
    ) -> Sweep:
        """Return the sweep for a volume; lengths in Å."""
        voxel = sum(voxel_sizes(voxel_size)) / 3
        start, stop = coarsest or max(15.0, 6 * voxel), max(finest or 0.0, 2 * voxel)
        if step <= 0 or start <= stop:
            raise UsageError(
                "a sweep has no steps",
                got=f"{start:g} to {stop:g} Å in steps of {step:g} Å",
                expected="from coarse to fine",
            )
        edge = max(volume.shape) * voxel
        count = math.floor((start - stop) / step + 1e-6) + 1
        pixels = [math.floor(edge / (start - i * step) + 0.5) for i in range(count)]
        return cls(tuple(edge / pixel for pixel in dict.fromkeys(pixels) if pixel > 0), voxel, step)

    @property
    def frequencies(self) -> tuple[float, ...]:
        """The same, 1/voxel."""
        return tuple(self.voxel_size / resolution for resolution in self.resolutions)


@dataclass(frozen=True)
class Noise:
    """What is kept of the noise's amplitude at one resolution.

    Parameters
    ----------
    mean, variance, limit : float
        ``limit`` is the quantile that a signal must exceed.
    count : int
    """

    mean: float
    variance: float
    count: int
    limit: float

    @classmethod
    def of(cls, values: torch.Tensor, significance: float) -> Noise:
        """Return these of (n,) values, whose order may be lost."""
        return cls(*_mean_and_variance(values), values.numel(), quantile(values, significance))


# The envelope at the voxels of the molecule, and what the noise's is like.
Level = tuple[torch.Tensor, Noise]


def scan(sweep: Sweep, count: int, levels: Iterator[Level]) -> tuple[torch.Tensor, float]:
    """Follow the molecule's voxels from coarse to fine until they drown in noise.

    Parameters
    ----------
    sweep : Sweep
    count : int
        Voxels of the molecule.
    levels : iterator of (envelope at these voxels, Noise)
        One a resolution; no more are asked for than needed.

    Returns
    -------
    (count,) float32 tensor, float
        The resolution at which every voxel closed, 0 where none did, and the last one tried; Å.
    """
    resolution, failures, active = torch.zeros(count), torch.zeros(count, dtype=torch.uint8), torch.ones(count) > 0
    strongest, last = 0.0, sweep.resolutions[0]
    for i, (level, (envelope, noise)) in enumerate(zip(sweep.resolutions, levels, strict=False)):
        resolution, failures, active = (state.to(envelope.device) for state in (resolution, failures, active))
        mean, variance = _mean_and_variance(envelope, active)
        strongest = max(strongest, mean)
        z_score = (mean - noise.mean) / max(
            math.sqrt(variance / how_many(active) + noise.variance / noise.count), 1e-30
        )
        if mean < SIGNAL_SHARE * strongest or z_score < Z_SCORE:
            if i == 0:
                resolution.fill_(level)  # noise alone: "this or worse", not an empty map
            break
        last = level
        above = envelope > noise.limit
        resolution.masked_fill_(above & active, level)
        failures.add_(1).masked_fill_(above, 0)
        closed = active & (failures >= 2)
        resolution.masked_fill_(closed, sweep.resolutions[max(i - 2, 0)])
        active &= ~closed
        if how_many(active) < LEFT_SHARE * count:
            break
    return resolution, last


def quantile(values: torch.Tensor, share: float) -> float:
    """Return the value that a share of a one-dimensional tensor does not exceed; its order may be lost."""
    rank = min(int(share * values.numel()) + 1, values.numel())
    if values.device.type == "cpu":  # torch's own keeps an index of eight bytes to each value
        values.numpy().partition(rank - 1)
        return float(values[rank - 1])
    return float(torch.kthvalue(values, rank).values)


def _mean_and_variance(values: torch.Tensor, chosen: torch.Tensor | None = None) -> tuple[float, float]:
    """Return these of (n,) values, or of some of them, in one pass of float64."""
    count, total, squares = 0, 0.0, 0.0
    for start in range(0, len(values), _PASS):
        some = values[start : start + _PASS].double()
        if chosen is not None:
            some = some[chosen[start : start + _PASS]]
        count, total, squares = count + len(some), total + float(some.sum()), squares + float(some.square().sum())
    return total / count, max(squares - total * total / count, 0.0) / max(count - 1, 1)
