"""The FSC of two whole half maps: unmasked, in a mask, and corrected for the mask by phase randomisation.

A mask that both halves share correlates them. How much is measured on halves whose phases are random beyond a
frequency, and taken off there (Chen et al., Ultramicroscopy 135, 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from emres.errors import UsageError
from emres.estimators.fsc import fsc_halves
from emres.volume.fourier import as_tensor, radial_frequency, voxel_sizes
from emres.volume.grid import Triple

Curve = np.ndarray[Any, np.dtype[np.float64]]

# Phases are random from the shell on where the unmasked FSC first falls below this value.
RANDOMISE_BELOW = 0.8
# Shells beyond that one that the correction leaves alone: the mask smears each shell over its neighbours.
SMEARED_SHELLS = 2

_PLANES = 16  # of a spectrum, summed at a time


@dataclass(frozen=True)
class GlobalFsc:
    """FSC curves of two half maps.

    Parameters
    ----------
    frequency : (shells,) 1/Å
        Of each shell's centre, from 0 to Nyquist.
    unmasked : (shells,)
    masked, randomised, corrected : (shells,), optional
        In the mask; of the halves with random phases in it; and what remains of the first without the second.
    randomised_beyond : float, optional
        Å from which on phases were random.
    """

    frequency: Curve
    unmasked: Curve
    masked: Curve | None = None
    randomised: Curve | None = None
    corrected: Curve | None = None
    randomised_beyond: float | None = None

    @property
    def curves(self) -> dict[str, Curve]:
        """The curves that there are, by name."""
        found = {name: getattr(self, name) for name in ("unmasked", "masked", "randomised", "corrected")}
        return {name: curve for name, curve in found.items() if curve is not None}

    @property
    def best(self) -> str:
        """Name of the curve that the resolution of the map is read off."""
        return "unmasked" if self.corrected is None else "corrected"

    def resolution(self, threshold: float = 0.143, curve: str | None = None) -> float:
        """Return where a curve first falls below a threshold, Å; two voxels where it never does.

        Parameters
        ----------
        threshold : float
        curve : str, optional
            Name of a curve; the corrected one by default, or the unmasked where there was no mask.
        """
        return resolution_at(self.frequency, self.curves[curve or self.best], threshold)


def global_fsc(
    half_map_1: Any,
    half_map_2: Any,
    voxel_size: float | Triple,
    mask: Any = None,
    *,
    randomise_below: float = RANDOMISE_BELOW,
    seed: int = 0,
    device: str = "cpu",
) -> GlobalFsc:
    """Return the FSC of two half maps.

    Parameters
    ----------
    half_map_1, half_map_2 : (z, y, x) float32
    voxel_size : Å, one or (z, y, x)
    mask : (z, y, x), optional
        0 to 1; its edge must be soft, or it correlates the halves up to high frequency.
    randomise_below : float
        Unmasked FSC below which phases are randomised.
    seed : int
        Of the random phases.
    device : str

    Returns
    -------
    GlobalFsc

    Raises
    ------
    UsageError
        If shapes differ or the mask is empty.
    MapError
        If a half map is constant.
    """
    first, second = fsc_halves(half_map_1, half_map_2, device)
    frequency, unmasked = shell_correlation(first, second, voxel_size)
    if mask is None:
        return GlobalFsc(frequency, unmasked)
    weight = _checked_mask(mask, first)
    _, masked = shell_correlation(first * weight, second * weight, voxel_size)
    below = np.flatnonzero(unmasked < randomise_below)
    start = int(below[0]) if len(below) else len(unmasked) - 1
    beyond = float(frequency[max(start, 1)])
    random = [randomise_beyond(half, voxel_size, beyond, seed + k) * weight for k, half in enumerate((first, second))]
    _, randomised = shell_correlation(random[0], random[1], voxel_size)
    corrected = masked.copy()
    rest = slice(start + SMEARED_SHELLS, None)
    corrected[rest] = (masked[rest] - randomised[rest]) / np.maximum(1 - randomised[rest], 1e-6)
    return GlobalFsc(frequency, unmasked, masked, randomised, corrected, 1 / beyond)


def shell_correlation(first: torch.Tensor, second: torch.Tensor, voxel_size: float | Triple) -> tuple[Curve, Curve]:
    """Return the FSC of two volumes over shells one Fourier pixel of the longest edge thick.

    Parameters
    ----------
    first, second : (z, y, x) float32 tensors
    voxel_size : Å, one or (z, y, x)

    Returns
    -------
    frequency : (shells,) 1/Å
        Up to Nyquist of the coarsest axis.
    fsc : (shells,)
        1 in shell 0, whose one coefficient is the mean.
    """
    sizes = voxel_sizes(voxel_size)
    edge = max(n * size for n, size in zip(first.shape, sizes, strict=True))
    shells = int(edge / (2 * max(sizes)) + 1e-6) + 1
    one, two = torch.fft.rfftn(first), torch.fft.rfftn(second)
    twice = torch.full((one.shape[2],), 2.0, dtype=torch.float64, device=first.device)
    # Of a real volume half the coefficients are kept: all but the planes x = 0 and Nyquist stand for two.
    twice[0] = 1.0
    if first.shape[2] % 2 == 0:
        twice[-1] = 1.0
    radius = radial_frequency(first.shape, sizes, str(first.device)).mul_(edge)
    cross, power_one, power_two = _shell_sums(one, two, radius, twice)
    fsc = cross / np.sqrt(np.maximum(power_one * power_two, 1e-300))
    fsc[0] = 1.0
    return np.arange(shells) / edge, fsc[:shells]


def randomise_beyond(volume: torch.Tensor, voxel_size: float | Triple, frequency: float, seed: int) -> torch.Tensor:
    """Return a volume with random phases from a frequency (1/Å) on, its amplitudes kept.

    The phases are those of white noise, so the volume stays real without loss.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.fft.rfftn(torch.randn(volume.shape, generator=generator).to(volume.device))
    spectrum = torch.fft.rfftn(volume)
    random = noise.mul_(spectrum.abs() / noise.abs().clamp_min(1e-30))
    beyond = radial_frequency(volume.shape, voxel_size, str(volume.device)) >= frequency * (1 - 1e-6)
    randomised: torch.Tensor = torch.fft.irfftn(torch.where(beyond, random, spectrum), s=volume.shape)
    return randomised


def resolution_at(frequency: Sequence[float] | Curve, fsc: Sequence[float] | Curve, threshold: float) -> float:
    """Return where a curve first falls below a threshold, linear in frequency between shells.

    Parameters
    ----------
    frequency : (shells,) 1/Å
        From 0 on.
    fsc : (shells,)
    threshold : float

    Returns
    -------
    float
        Å; of the last shell where the curve never falls.

    Examples
    --------
    >>> resolution_at([0.0, 0.1, 0.2, 0.3], [1.0, 1.0, 0.6, 0.4], 0.5)
    4.0
    """
    curve, where = np.asarray(fsc), np.asarray(frequency)
    below = np.flatnonzero(curve[1:] < threshold)
    if not len(below):
        return float(1 / where[-1])
    before = int(below[0])
    share = (curve[before] - threshold) / (curve[before] - curve[before + 1])
    return float(1 / (where[before] + share * (where[before + 1] - where[before])))


def _shell_sums(one: torch.Tensor, two: torch.Tensor, radius: torch.Tensor, weight: torch.Tensor) -> Curve:
    """Return (3, shells): sums of the product of two spectra and of their squares, a few planes at a time."""
    shells = int(radius.max()) + 2
    sums = torch.zeros((3, shells), dtype=torch.float64, device=one.device)
    for start in range(0, len(one), _PLANES):
        part = slice(start, start + _PLANES)
        index = radius[part].round().long().flatten()
        for row, (a, b) in zip(sums, ((one, two), (one, one), (two, two)), strict=True):
            product = a[part].real * b[part].real + a[part].imag * b[part].imag
            row += torch.bincount(index, (product * weight).flatten(), minlength=shells)
    return np.asarray(sums.cpu().numpy())


def _checked_mask(mask: Any, volume: torch.Tensor) -> torch.Tensor:
    weight = as_tensor(mask, "mask", str(volume.device))
    if weight.shape != volume.shape:
        raise UsageError(
            "mask and half maps differ in shape", got=f"{tuple(weight.shape)}", expected=f"{tuple(volume.shape)}"
        )
    if not bool((weight > 0).any()):
        raise UsageError("the mask is empty", expected="values above 0 on the molecule")
    return weight
