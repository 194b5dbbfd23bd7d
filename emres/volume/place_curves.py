"""Round every place of a molecule, how its power differs from that of the whole: curves over frequency.

A filter changes both alike, so curves are of the map before any. They lie on an axis of 44 frequencies, evenly spaced
in their logarithm: what marks the end of the signal looks alike wherever it lies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from emres.volume.grid import Shape, as_shape
from emres.volume.levels import Levels
from emres.volume.local_power import LocalPower
from emres.volume.spectrum import NYQUIST, RESOLVED, Spectra

Array = np.ndarray[Any, Any]

FREQUENCIES = 44
_COARSEST, _FINEST = 1 / 28, 1 / 2  # per voxel
LOGS = np.linspace(math.log(_COARSEST), math.log(_FINEST), FREQUENCIES)
_FLOOR = 1e-9  # power, relative to the density's mean square: less is nothing
_MOST = 3.0  # natural logarithm of a ratio of powers: what lies beyond tells nothing more
_AT_ONCE = 2**14  # places: memory
_BESIDE = 1.75  # steps from the molecule: between places that far apart a voxel of it may lie


@dataclass(frozen=True, eq=False)
class PlaceCurves:
    """Curves of the places in and next to a molecule.

    Parameters
    ----------
    values : (n, 2, 44) float16
        Natural logarithm of the power in the core of the window and in its skirt, over that of the whole molecule.
    places : (n, 3) int16
        Of each, on the lattice.
    inside : (n,) bool
        Which lie in the molecule.
    shape, start : (z, y, x)
        Of the lattice; voxel that its first place lies before, on its face.
    step : int
        Voxels from one place to the next.
    """

    values: Array
    places: Array
    inside: Array
    shape: Shape
    start: Shape
    step: int

    def levels(self, values: Array) -> Levels:
        """Return levels, log(resolution in voxels), that are known at the places: their median everywhere else."""
        chosen = values[self.inside] if self.inside.any() else values
        median = round(float(np.median(chosen)), 6)
        whole: Array = np.full(self.shape, median, dtype=np.float16)
        whole[tuple(self.places.T)] = values
        return Levels(whole, self.start, self.step, median)

    def voxels(self) -> Array:
        """Return where each place is, in voxels, (n, 3): half-way between two of them along every axis."""
        return np.asarray(np.array(self.start) + self.step * self.places.astype(np.int64) - 0.5)


def place_curves(power: LocalPower, spectra: Spectra) -> PlaceCurves:
    """Return the curves of a molecule's places.

    Parameters
    ----------
    power : LocalPower
    spectra : Spectra
        Of the same map.
    """
    distance = ndimage.distance_transform_edt(~power.beside) if power.beside.any() else np.zeros(power.beside.shape)
    asked = power.there & (distance <= _BESIDE)
    if not asked.any():
        asked = power.there | power.beside
    whole = log_power(np.array(spectra.inside[1 : NYQUIST + 1])) @ onto_axis(RESOLVED)
    onto, places = onto_axis(power.shells), np.argwhere(asked)
    values: Array = np.empty((len(places), 2, FREQUENCIES), dtype=np.float16)
    for k in range(0, len(places), _AT_ONCE):
        z, y, x = places[k : k + _AT_ONCE].T
        for j, part in enumerate((power.core, power.skirt)):
            values[k : k + _AT_ONCE, j] = np.clip(log_power(part[:, z, y, x].T) @ onto - whole, -_MOST, _MOST)
    return PlaceCurves(
        values, places.astype(np.int16), power.inside[asked], as_shape(asked.shape), power.start, power.step
    )


def log_power(power: Array) -> Array:
    """Return the natural logarithm of powers, of which there is always some."""
    return np.asarray(np.log(np.maximum(power, _FLOOR)))


def onto_axis(given: Array) -> Array:
    """Return what takes values at frequencies, 1/voxel, to the axis: (given, 44), linear, and constant beyond them."""
    return np.array([np.interp(np.exp(LOGS), given, unit) for unit in np.eye(len(given))])
