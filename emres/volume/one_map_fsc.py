"""Local resolution from the power of one map over that of its noise, in windows; nothing in it is learnt.

Of the average of two half maps, with r the local power in a shell over the power of the noise there, the FSC of the
halves is (r - 1) / (r + 1): it falls to 0.143 where r falls to 4/3. Whatever filter the map went through, it changed
both powers alike. The window is that of the dense local FSC (:mod:`emres.estimators.fsc`), a Hann taper and Gaussian
sums in place of Gaussians all through: a core, a broad skirt, and a mean over neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from emres.volume.levels import Levels
from emres.volume.local_power import LocalPower
from emres.volume.local_window import SKIRT_SHARE
from emres.volume.spectrum import SHELLS, SIDE, Spectra

Array = np.ndarray[Any, Any]

RATIO = (1 + 1 / 7) / (1 - 1 / 7)  # of the powers, where the FSC is 1/7
_NOTHING = 1e-5  # of the largest power of the noise: filtered off
_DILUTED = 1.15  # median of simulated maps


def shown_resolution(spectra: Spectra) -> float:
    """Return the resolution, Å, at which the power in the molecule comes down to that of the noise.

    Windows round a molecule hold solvent too, and what they show is coarser by so much.
    """
    inside, noise = np.array([spectra.inside, spectra.outside])[:, : SIDE // 2 + 1]
    above = inside > RATIO * np.maximum(noise, _NOTHING * noise.max())
    shell = int(np.argmin(above[1:])) + 1 if not above[1:].all() else SIDE // 2
    return SIDE * spectra.voxel_size / max(shell, 2) / _DILUTED


def local_levels(power: LocalPower, noise: tuple[float, ...]) -> Levels:
    """Return where the local power comes down to that of the noise.

    Parameters
    ----------
    power : LocalPower
    noise : (43,) tuple of float
        Power of the noise, as :class:`emres.volume.spectrum.Spectra` has it.

    Returns
    -------
    Levels
    """
    frequency = power.averaged(_crossings(power, noise))
    # To a tenth of a percent: what is kept of them, in half the bytes, is what they are.
    values = -np.log(np.clip(frequency, 1 / 64, 0.5)).astype(np.float16).astype(np.float32)
    within = values[power.inside] if power.inside.any() else values
    return Levels(values, power.start, power.step, round(float(np.median(within)), 6))


def _crossings(power: LocalPower, noise: tuple[float, ...]) -> Array:
    """Return where the power first comes down to 4/3 of the noise, 1/voxel."""
    shells = power.shells
    expected = np.interp(shells, np.arange(SHELLS) / SIDE, noise)
    told = np.flatnonzero(expected > _NOTHING * expected.max())
    last = int(told[-1]) if len(told) else len(shells) - 1
    found: Array = np.full(power.there.shape, shells[last])
    above = np.ones(power.there.shape, dtype=bool)
    before: Array = np.full(power.there.shape, np.float32(np.inf))
    for k, (core, skirt) in zip(range(last + 1), zip(power.core, power.skirt, strict=True), strict=False):
        ratio = ((1 - SKIRT_SHARE) * core + SKIRT_SHARE * skirt) / np.float32(max(expected[k], 1e-30))
        falls = above & (ratio < RATIO)
        earlier = shells[max(k - 1, 0)]
        part: Array = np.clip((before - RATIO) / np.maximum(before - ratio, 1e-6), 0, 1) if k else np.ones_like(ratio)
        found = np.where(falls, earlier + part * (shells[k] - earlier), found)
        above &= ~falls
        before = ratio
    return found
