"""MonoRes: at each resolution, does what is finer still rise above the noise.

The method of Vilas et al. (Structure 26, 2018), from one map and a mask or from two half maps. The map is high-passed
at one frequency after the other, from coarse to fine; where its monogenic amplitude (the envelope, from the Riesz
transform) stays below the 95 % quantile of the noise's amplitude twice running, the voxel is closed with the
resolution of two steps before. Details that the paper leaves open were found by measuring the program.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from emres.errors import UsageError
from emres.estimators.estimate import Estimate
from emres.estimators.fsc import paired_halves
from emres.estimators.monogenic import FourierSpace, MonogenicAmplitude, Voxels
from emres.volume.fourier import as_tensor, gaussian_filter, voxel_sizes
from emres.volume.grid import Triple

# Blurs of the amplitude (for the mask) and of the answer, exp(-r^2 / w^2) with w of 4 and 3 voxels.
MASK_SIGMA = 4 / math.sqrt(2)
ANSWER_SIGMA = 3 / math.sqrt(2)
# One-sided 95 % of the normal distribution; share of the mask at which the sweep ends; signal worth going on for.
Z_SCORE = 1.645
LEFT_SHARE = 0.025
SIGNAL_SHARE = 0.001

# Given a frequency (1/voxel): the envelope at the voxels of the molecule, and the noise's values.
Levels = Callable[[float], tuple[torch.Tensor, torch.Tensor]]


def monores(
    volume: Any,
    voxel_size: float | Triple,
    mask: Any,
    *,
    coarsest: float | None = None,
    finest: float | None = None,
    step: float = 0.5,
    significance: float = 0.95,
    device: str = "cpu",
) -> Estimate:
    """Estimate local resolution from one map, its solvent being the noise.

    Parameters
    ----------
    volume : (z, y, x) float32
        Unsharpened and, above all, unmasked.
    voxel_size : Å, one or (z, y, x)
    mask : (z, y, x)
        The molecule is where it is above 0.5. Voxels whose amplitude looks like solvent are taken out.
    coarsest, finest : float, optional
        Å, ends of the sweep; without them the larger of 15 Å and 6 voxels, and 2 voxels.
    step : float
        Å between two resolutions, each moved to the nearest Fourier pixel.
    significance : float
        Quantile of the noise amplitude.
    device : str

    Returns
    -------
    Estimate
        Resolution in Å, 0 outside the mask.

    Raises
    ------
    UsageError
        If mask and map differ in shape, or there is no molecule or no solvent.
    """
    density = as_tensor(volume, "map", device)
    inside = _inside(mask, density)
    outside = ~inside & _inscribed_sphere(density)
    if not bool(outside.any()):
        raise UsageError(
            "there is no solvent to take the noise from",
            got="a mask that fills the box",
            cure="pass a smaller mask, or the half maps",
        )
    space = FourierSpace.of(density)
    amplitude = MonogenicAmplitude(density, space)
    envelope = gaussian_filter(amplitude.unfiltered(), MASK_SIGMA)
    inside &= envelope >= quantile(envelope[outside], significance)
    if not bool(inside.any()):
        raise UsageError("no voxel of the mask rises above the solvent", cure="pass a mask that fits the map")
    sweep = Sweep.of(density, voxel_size, coarsest, finest, step)
    voxels = Voxels.of(inside | outside)
    is_inside, is_outside = (torch.nonzero(voxels.take(region)).squeeze(1) for region in (inside, outside))

    def signal_and_noise(frequency: float) -> tuple[torch.Tensor, torch.Tensor]:
        envelope = amplitude(space.band(frequency), voxels)
        return envelope[is_inside], envelope[is_outside]

    return _estimate(sweep, inside, signal_and_noise, significance, "single")


def monores_halves(
    half_map_1: Any,
    half_map_2: Any,
    voxel_size: float | Triple,
    mask: Any,
    *,
    coarsest: float | None = None,
    finest: float | None = None,
    step: float = 0.5,
    significance: float = 0.95,
    device: str = "cpu",
) -> Estimate:
    """Estimate local resolution from the mean of two half maps, the noise being half their difference.

    Parameters
    ----------
    half_map_1, half_map_2 : (z, y, x) float32
    voxel_size : Å, one or (z, y, x)
    mask : (z, y, x)
        The molecule is where it is above 0.5; signal and noise are both taken there.
    coarsest, finest, step, significance, device
        As for :func:`monores`.

    Returns
    -------
    Estimate
        Resolution in Å, 0 outside the mask.

    Raises
    ------
    UsageError
        If shapes differ or there is no molecule.
    """
    first, second = paired_halves(half_map_1, half_map_2, device)
    inside = _inside(mask, first)
    space = FourierSpace.of(first)
    mean, noise = (MonogenicAmplitude(part / 2, space) for part in (first + second, first - second))
    sweep = Sweep.of(first, voxel_size, coarsest, finest, step)
    voxels = Voxels.of(inside)

    def signal_and_noise(frequency: float) -> tuple[torch.Tensor, torch.Tensor]:
        band = space.band(frequency)
        return mean(band, voxels), noise(band, voxels)

    return _estimate(sweep, inside, signal_and_noise, significance, "halves")


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


def quantile(values: torch.Tensor, share: float) -> float:
    """Return the value that a share of a one-dimensional tensor does not exceed."""
    rank = min(int(share * values.numel()) + 1, values.numel())
    return float(torch.kthvalue(values, rank).values)


def _estimate(sweep: Sweep, inside: torch.Tensor, signal_and_noise: Levels, significance: float, mode: str) -> Estimate:
    raw, last = _scan(sweep, inside, signal_and_noise, significance)
    coarsest, finest = sweep.resolutions[0], sweep.resolutions[-1]
    answer = _smooth(raw, inside, last)
    at_start = inside & (raw >= coarsest - 1e-3)
    capped = at_start | (inside & (raw <= finest + 1e-3))
    total = float(inside.sum())
    return Estimate(
        resolution=answer.cpu().numpy(),
        method="monores",
        definition="monores",
        threshold=significance,
        window=0.0,
        parameters={"mode": mode, "coarsest": coarsest, "finest": finest, "step": sweep.step, "last": last},
        capped_share=float(capped.sum()) / total,
        unresolved_share=float(at_start.sum()) / total,
    )


def _scan(
    sweep: Sweep, inside: torch.Tensor, signal_and_noise: Levels, significance: float
) -> tuple[torch.Tensor, float]:
    """Return the resolution at which every voxel closed, 0 where none did, and the last one tried."""
    count = int(inside.sum())
    resolution, failures = torch.zeros((2, count), device=inside.device)
    active, strongest = torch.ones(count, dtype=torch.bool, device=inside.device), 0.0
    last = sweep.resolutions[0]
    for i, level in enumerate(sweep.resolutions):
        envelope, noise = signal_and_noise(sweep.voxel_size / level)
        signal = envelope[active]
        strongest = max(strongest, float(signal.mean()))
        if float(signal.mean()) < SIGNAL_SHARE * strongest or _z_score(signal, noise) < Z_SCORE:
            if i == 0:
                resolution.fill_(level)  # noise alone: "this or worse", not an empty map
            break
        last = level
        above = active & (envelope > quantile(noise, significance))
        resolution.masked_fill_(above, level)
        failures = torch.where(active & ~above, failures + 1, 0)
        closed = failures >= 2
        resolution.masked_fill_(closed, sweep.resolutions[max(i - 2, 0)])
        active &= ~closed
        if float(active.sum()) < LEFT_SHARE * count:
            break
    return torch.zeros(inside.shape, device=inside.device).masked_scatter_(inside, resolution), last


def _smooth(raw: torch.Tensor, inside: torch.Tensor, last: float) -> torch.Tensor:
    """Return the finer of the raw answer and its blur, the surroundings filled with the median."""
    filled = torch.where(raw < last - 1e-3, raw[inside].median(), raw)
    return torch.where(inside, torch.minimum(gaussian_filter(filled, ANSWER_SIGMA), filled), 0.0)


def _z_score(signal: torch.Tensor, noise: torch.Tensor) -> float:
    spread = signal.var() / signal.numel() + noise.var() / noise.numel()
    return float((signal.mean() - noise.mean()) / spread.sqrt().clamp_min(1e-30))


def _inside(mask: Any, volume: torch.Tensor) -> torch.Tensor:
    inside = as_tensor(mask, "mask", str(volume.device)) > 0.5
    if inside.shape != volume.shape:
        raise UsageError(
            "mask and map differ in shape", got=f"{tuple(inside.shape)}", expected=f"{tuple(volume.shape)}"
        )
    if not bool(inside.any()):
        raise UsageError("the mask is empty", expected="values above 0.5 on the molecule")
    return inside


def _inscribed_sphere(volume: torch.Tensor) -> torch.Tensor:
    """Tell which voxels lie in the sphere of the longest edge: reconstructions leave nothing in the corners."""
    z, y, x = ((torch.arange(n, device=volume.device) - n // 2).square() for n in volume.shape)
    distance_squared: torch.Tensor = z[:, None, None] + y[None, :, None] + x[None, None, :]
    return distance_squared <= (max(volume.shape) // 2) ** 2
