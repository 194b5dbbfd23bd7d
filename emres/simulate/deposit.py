"""What depositors do to the average of two half maps before it reaches the archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import fft

from emres.simulate.atoms import squared_frequency
from emres.simulate.halfmaps import HalfMaps
from emres.volume.masking import soft_edge

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Processing:
    """Deposit-time processing; the default leaves the plain average.

    Parameters
    ----------
    fsc_weighting : bool
        Multiply each shell by sqrt(2 FSC / (1 + FSC)).
    sharpening : float
        B factor taken away, in units of resolution^2; above 0 sharpens.
    low_pass : float
        Cut-off over the global resolution; 0 for none.
    soft_mask : float
        Voxels of soft edge of a mask round the molecule; 0 for none.
    """

    fsc_weighting: bool = False
    sharpening: float = 0.0
    low_pass: float = 0.0
    soft_mask: float = 0.0


def draw_processing(seed: int) -> Processing:
    """Draw a processing at random; a quarter of the maps stay the plain average."""
    rng = np.random.default_rng([seed, 1])
    if rng.random() < 0.25:
        return Processing()
    return Processing(
        fsc_weighting=bool(rng.random() < 0.6),
        sharpening=float(rng.uniform(2, 16)) if rng.random() < 0.75 else 0.0,
        low_pass=float(rng.uniform(0.8, 1.15)) if rng.random() < 0.6 else 0.0,
        soft_mask=float(rng.uniform(2, 8)) if rng.random() < 0.4 else 0.0,
    )


def deposit(halves: HalfMaps, processing: Processing) -> Array:
    """Average two half maps and process them as a depositor would.

    Parameters
    ----------
    halves : HalfMaps
    processing : Processing

    Returns
    -------
    (z, y, x) float32
    """
    average = (halves.half_map_1 + halves.half_map_2) / 2
    gain = _gain(halves, processing)
    if gain is not None:
        average = fft.irfftn(fft.rfftn(average) * gain, s=average.shape)
    if processing.soft_mask:
        average = average * soft_edge(halves.mask, processing.soft_mask)
    return np.asarray(average, dtype=np.float32)


def _gain(halves: HalfMaps, processing: Processing) -> Array | None:
    """Return the factor of every Fourier coefficient, or None where nothing is filtered."""
    if not (processing.fsc_weighting or processing.sharpening or processing.low_pass):
        return None
    square = squared_frequency(halves.grid)
    resolution = halves.recipe.resolution * halves.recipe.voxel_size
    sharpening = processing.sharpening * resolution**2
    gain = np.exp(np.minimum(sharpening * square / 4, 12))
    if processing.fsc_weighting:
        gain = gain * _fsc_weight(halves, square)
    if processing.low_pass:
        cut, frequency = 1 / (processing.low_pass * resolution), np.sqrt(square)
        gain = gain * (0.5 - 0.5 * np.tanh((frequency - cut) / (0.06 * cut)))
    return np.asarray(gain)


def _fsc_weight(halves: HalfMaps, square: Array) -> Array:
    """Return sqrt(2 FSC / (1 + FSC)) of the masked halves' shells, at every coefficient."""
    window = soft_edge(halves.mask, 6.0)
    one, two = (fft.rfftn(half * window) for half in (halves.half_map_1, halves.half_map_2))
    width = 1 / (min(halves.grid.extent))
    shell = np.rint(np.sqrt(square) / width).astype(int)
    cross, power_1, power_2 = (
        np.bincount(shell.ravel(), weights=values.ravel())
        for values in ((one * two.conj()).real, np.abs(one) ** 2, np.abs(two) ** 2)
    )
    fsc = np.clip(cross / np.maximum(np.sqrt(power_1 * power_2), 1e-30), 0, 1)
    fsc[:2] = 1  # two or three coefficients say nothing, and an error here would wipe out the map
    first_noise = int(np.argmax(fsc < 0.05)) if (fsc < 0.05).any() else fsc.size
    fsc[first_noise:] = 0
    return np.asarray(np.sqrt(2 * fsc / (1 + fsc))[shell])
