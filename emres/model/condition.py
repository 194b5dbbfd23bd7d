"""What a net is told of the whole map, beside the voxels it sees: a few numbers, the same for every block of it.

How fine a map is as a whole shows in its spectrum, in and beside the molecule, better than in any small part of it. The
resolution its authors report says it too, where there is one. Nets are trained with and without being told, so one net
answers both ways.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from emres.errors import UsageError
from emres.volume.spectrum import NYQUIST, Spectra

Array = np.ndarray[Any, Any]

# Spectrum inside, beside, whether there is anything beside; voxel size; reported resolution, whether it is told.
LENGTH = 2 * NYQUIST + 4
TOLD = LENGTH - 2  # where the reported resolution stands, and behind it whether it is told
USUAL_RATIO = 4.0  # reported resolution over voxel size: what is told is the logarithm over this
_FLOOR = 1e-7  # power, relative to the density's mean square: what a masked map has outside
_SCALE = 4.0  # of natural logarithms of power, so that all numbers are of order one
_USUAL_VOXEL_SIZE = 1.5


def condition_of(spectra: Spectra, reported: float | None = None) -> Array:
    """Return what a net is told of a map.

    Parameters
    ----------
    spectra : Spectra
        Of the normalised map on the net's grid.
    reported : float, optional
        Resolution of the whole map, Å, if it is told.

    Returns
    -------
    (LENGTH,) float32
        Logarithms of powers, voxel size and resolution, scaled to be of order one; 0 and a flag for what is not known.

    Raises
    ------
    UsageError
        If the resolution is not positive.

    Examples
    --------
    >>> condition_of(Spectra(1.5, (1.0,) * 43), reported=6.0)[-3:]
    array([0., 0., 1.], dtype=float32)
    """
    if reported is not None and not (math.isfinite(reported) and reported > 0):
        raise UsageError("a resolution is a length", got=f"{reported} Å", expected="a positive number")
    beside = _logs(spectra.outside) if spectra.outside else np.zeros(NYQUIST)
    voxel_size = math.log(spectra.voxel_size / _USUAL_VOXEL_SIZE)
    told = (0.0, 0.0) if reported is None else (_level(reported, spectra.voxel_size), 1.0)
    numbers = [_logs(spectra.inside), beside, [float(bool(spectra.outside)), voxel_size, *told]]
    return np.concatenate(numbers).astype(np.float32)


def _logs(power: tuple[float, ...]) -> Array:
    return np.asarray(np.log(np.maximum(power[1 : NYQUIST + 1], _FLOOR)) / _SCALE)


def _level(reported: float, voxel_size: float) -> float:
    return math.log(reported / voxel_size / USUAL_RATIO)
