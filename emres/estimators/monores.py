"""MonoRes: at each resolution, does what is finer still rise above the noise.

The method of Vilas et al. (Structure 26, 2018), from one map and a mask or from two half maps. The map is high-passed
at one frequency after the other, from coarse to fine; where its monogenic amplitude (the envelope, from the Riesz
transform) stays below the 95 % quantile of the noise's amplitude twice running, the voxel is closed with the
resolution of two steps before. Details that the paper leaves open were found by measuring the program.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from emres.errors import UsageError
from emres.estimators.chosen import how_many, put_at
from emres.estimators.estimate import Estimate
from emres.estimators.fsc import paired_halves
from emres.estimators.monogenic import MonogenicAmplitude, Voxels
from emres.estimators.monores_sweep import Level, Noise, Sweep, quantile, scan
from emres.estimators.one_map import measurable
from emres.volume.fourier import as_tensor, gaussian_filter
from emres.volume.grid import Triple

# Blurs of the amplitude (for the mask) and of the answer, exp(-r^2 / w^2) with w of 4 and 3 voxels.
MASK_SIGMA = 4 / math.sqrt(2)
ANSWER_SIGMA = 3 / math.sqrt(2)
# Levels whose noise is measured before the signal's: the envelopes of both halves at once would not fit in memory.
_TOGETHER = 8


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
        Resolution in Å, 0 outside the mask and where the map looks like solvent (counted as unresolved).

    Raises
    ------
    MapError, UsageError
        If the map is constant or a speck, mask and map differ in shape, or there is no molecule or no solvent.
    """
    (density,) = measurable(as_tensor(volume, "map", device))
    inside = _inside(mask, density)
    outside = ~inside & _inscribed_sphere(density)
    if not bool(outside.any()):
        raise UsageError(
            "there is no solvent to take the noise from",
            got="a mask that fills the box",
            cure="pass a smaller mask, or the half maps",
        )
    sweep = Sweep.of(density, voxel_size, coarsest, finest, step)
    amplitude, solvent = MonogenicAmplitude(density.shape, density.device).load(density), Voxels.of(outside)
    asked = how_many(inside)
    _drop_what_looks_like_solvent(inside, amplitude, solvent, significance)
    molecule = Voxels.of(inside)
    values, last = scan(sweep, len(molecule), _from_one_map(amplitude, sweep, molecule, solvent, significance))
    del amplitude
    return _estimate(sweep, inside, values, last, significance, "single", asked)


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
    MapError, UsageError
        If a half map is constant or a speck, shapes differ or there is no molecule.
    """
    first, second = paired_halves(half_map_1, half_map_2, device)
    first, second = measurable(first, second, name="a half map")
    inside = _inside(mask, first)
    sweep = Sweep.of(first, voxel_size, coarsest, finest, step)
    molecule = Voxels.of(inside)
    values, last = scan(sweep, len(molecule), _from_half_maps(first, second, sweep, molecule, significance))
    return _estimate(sweep, inside, values, last, significance, "halves", len(molecule))


@dataclass(frozen=True)
class Combined:
    """Half the first volume and a share of the second, computed where it is looked at.

    Parameters
    ----------
    first, second : (z, y, x) float32
    share : float
    """

    first: torch.Tensor
    second: torch.Tensor
    share: float

    def __getitem__(self, sections: slice) -> torch.Tensor:
        """Return some sections along z."""
        return (self.first[sections] * 0.5).add_(self.second[sections], alpha=self.share)


def _from_one_map(
    amplitude: MonogenicAmplitude, sweep: Sweep, molecule: Voxels, solvent: Voxels, significance: float
) -> Iterator[Level]:
    for frequency in sweep.frequencies:
        signal, noise = amplitude.beyond(frequency, molecule, solvent)
        yield signal, Noise.of(noise, significance)


def _from_half_maps(
    first: torch.Tensor, second: torch.Tensor, sweep: Sweep, molecule: Voxels, significance: float
) -> Iterator[Level]:
    amplitude = MonogenicAmplitude(first.shape, first.device)
    for start in range(0, len(sweep.frequencies), _TOGETHER):
        together = sweep.frequencies[start : start + _TOGETHER]
        amplitude.load(Combined(first, second, -0.5))
        noises = [Noise.of(amplitude.beyond(frequency, molecule)[0], significance) for frequency in together]
        amplitude.load(Combined(first, second, 0.5))
        for frequency, noise in zip(together, noises, strict=True):
            yield amplitude.beyond(frequency, molecule)[0], noise


def _estimate(
    sweep: Sweep, inside: torch.Tensor, values: torch.Tensor, last: float, significance: float, mode: str, asked: int
) -> Estimate:
    coarsest, finest = sweep.resolutions[0], sweep.resolutions[-1]
    answer = _smooth(values, inside, last)
    at_start = values >= coarsest - 1e-3
    capped = at_start | (values <= finest + 1e-3)
    return Estimate(
        resolution=answer.cpu().numpy(),
        method="monores",
        definition="monores",
        threshold=significance,
        window=0.0,
        parameters={"mode": mode, "coarsest": coarsest, "finest": finest, "step": sweep.step, "last": last},
        capped_share=float(capped.float().mean()),
        unresolved_share=(asked - len(values) + how_many(at_start)) / asked,
    )


def _smooth(values: torch.Tensor, inside: torch.Tensor, last: float) -> torch.Tensor:
    """Return the finer of the raw answer and its blur, the surroundings filled with the median."""
    filled = torch.full(inside.shape, float(values.median()), device=inside.device)
    put_at(inside, filled, torch.where(values < last - 1e-3, values.median(), values))
    return torch.minimum(gaussian_filter(filled, ANSWER_SIGMA), filled).masked_fill_(~inside, 0.0)


def _drop_what_looks_like_solvent(
    inside: torch.Tensor, amplitude: MonogenicAmplitude, solvent: Voxels, significance: float
) -> None:
    """Take the voxels out of a mask whose blurred envelope does not exceed a quantile of the solvent's."""
    signal, noise = amplitude.blurred(MASK_SIGMA, Voxels.of(inside), solvent)
    put_at(inside.clone(), inside, signal >= quantile(noise, significance))
    if not bool(inside.any()):
        raise UsageError("no voxel of the mask rises above the solvent", cure="pass a mask that fits the map")


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
    # Twice the distances from the middle of the box: whole numbers, and a turned box has the same sphere.
    z, y, x = (torch.arange(1 - n, n, 2, device=volume.device, dtype=torch.int32).square() for n in volume.shape)
    return z[:, None, None] + y[None, :, None] <= (2 * (max(volume.shape) // 2)) ** 2 - x[None, None, :]
