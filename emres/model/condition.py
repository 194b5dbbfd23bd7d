"""What a net is told of the whole map, beside the voxels it sees: a few numbers, the same for every block of it.

How fine a map is as a whole shows in its spectrum, in and beside the molecule, better than in any small part of it. The
resolution its authors report says it too, where there is one. Nets are trained with and without being told, so one net
answers both ways.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.errors import UsageError
from emres.volume.contrast import NUMBERS
from emres.volume.place_curves import log_power
from emres.volume.spectrum import NYQUIST, RESOLVED, Spectra

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, Any]

# Spectrum inside, that of the noise, whether it is known; voxel size; that of the map itself over it; how the power
# differs from place to place, whether that is known; the level that the local power shows, whether it does; reported
# resolution, whether it is told; whether all below the map's background was taken away.
KNOWN = 2 * NYQUIST  # whether the noise is known
CONTRAST = KNOWN + 3
LENGTH = CONTRAST + NUMBERS + 6
SHOWN, TOLD = LENGTH - 5, LENGTH - 3  # where a level stands, and behind it whether it is there
STRIPPED = LENGTH - 1  # readers are chosen by it, and it says how far off they are: no net sees it
STRIPPED_KIND = 3  # see `kinds_of`; the last
KINDS_OF_NOISE = STRIPPED_KIND + 1
USUAL_RATIO = 4.0  # reported resolution over voxel size: what is told is the logarithm over this
_LAST = (0.85, 0.97)  # of the finest frequency of a map: where a filter shows
_FILTERED = 20.0  # times less noise than at its peak is what a filter left
_SCALE = 4.0  # of natural logarithms of power, so that all numbers are of order one
_USUAL_VOXEL_SIZE = 1.5


def condition_of(
    spectra: Spectra, reported: float | None = None, shown: float | None = None, *, stripped: bool = False
) -> Array:
    """Return what a net is told of a map.

    Parameters
    ----------
    spectra : Spectra
        Of the normalised map on the net's grid.
    reported : float, optional
        Resolution of the whole map, Å, if it is told.
    shown : float, optional
        Median level that its local power shows (:class:`emres.volume.one_map_fsc.Levels`), if it does.
    stripped : bool
        Whether nothing in it lies below its background: :meth:`emres.volume.density.RobustStatistics.stripped`.

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
    >>> condition_of(Spectra(1.5, (1.0,) * 43), reported=6.0)[-4:]
    array([0., 0., 1., 0.], dtype=float32)
    """
    if reported is not None and not (math.isfinite(reported) and reported > 0):
        raise UsageError("a resolution is a length", got=f"{reported} Å", expected="a positive number")
    known = any(spectra.outside)
    beside = _logs(spectra.outside) if known else np.zeros(NYQUIST)
    voxel_size = math.log(spectra.voxel_size / _USUAL_VOXEL_SIZE)
    told = (0.0, 0.0) if reported is None else (_level(reported, spectra.voxel_size), 1.0)
    level = (0.0, 0.0) if shown is None else (shown - math.log(USUAL_RATIO), 1.0)
    sampling = math.log((spectra.sampling or spectra.voxel_size) / spectra.voxel_size)
    contrast = np.zeros(NUMBERS) if spectra.contrast is None else spectra.contrast.numbers
    about = [float(known), voxel_size, sampling]
    numbers = [_logs(spectra.inside), beside, about, contrast, [float(contrast.any()), *level, *told, stripped]]
    return np.concatenate(numbers).astype(np.float32)


def _logs(power: tuple[float, ...]) -> Array:
    return log_power(np.array(power[1 : NYQUIST + 1])) / _SCALE


def log_spectrum(condition: Sequence[float] | Array) -> Array:
    """Return the natural logarithm of the power in the molecule, (NYQUIST,), that a net was told."""
    return _SCALE * np.asarray(condition[:NYQUIST], dtype=np.float64)


def _level(reported: float, voxel_size: float) -> float:
    return math.log(reported / voxel_size / USUAL_RATIO)


def blind(conditions: Array) -> Array:
    """Return conditions, (..., LENGTH), without a reported resolution and what rests on it."""
    found = np.array(conditions)
    found[..., TOLD:STRIPPED] = 0
    found[..., SHOWN:TOLD] *= found[..., KNOWN, None]
    return found


def whitened(condition: Tensor) -> Tensor:
    """Return conditions whose spectra no filter changes where the noise is known: those of the map over the noise.

    Parameters
    ----------
    condition : (batch, LENGTH) float32

    Returns
    -------
    (batch, LENGTH - 1) float32
        Spectrum in the molecule over that of the noise (0 if not known), spectrum in the molecule about its mean (0 if
        the noise is known), and the rest as it was, but for whether they are stripped.
    """
    import torch

    inside, noise, rest = condition[:, :NYQUIST], condition[:, NYQUIST:KNOWN], condition[:, KNOWN:STRIPPED]
    known = rest[:, :1]
    alone = inside - inside.mean(1, keepdim=True)
    return torch.cat([known * (inside - noise), (1 - known) * alone, rest], 1)


def level_at(condition: Tensor, place: int) -> tuple[Tensor, Tensor]:
    """Return a level in a condition, natural logarithm of voxels, and whether it is there: (batch, 1) each."""
    return condition[:, place : place + 1] + math.log(USUAL_RATIO), condition[:, place + 1 : place + 2]


def kinds_of(condition: Tensor) -> tuple[Tensor, Tensor]:
    """Return what is known of the noise of maps, and whether their resolution is told: (batch,) int64 each.

    Of the noise, 0: nothing; 1: what a filter left of it; 2: all, up to the finest frequency of the map; 3: what lies
    above the background. A map that was filtered was often treated in other ways, too, and nets are farther off on it
    than on an average of half maps; of a map that was stripped much of the noise is gone that others are read by.
    """
    known, told = (condition[:, k] > 0.5 for k in (KNOWN, TOLD + 1))
    noise = known.long() * (1 + _unfiltered(condition).long())
    return noise.masked_fill(are_stripped(condition), STRIPPED_KIND), told.long()


def are_stripped(condition: Tensor) -> Tensor:
    """Return of which maps all below the background was taken away: (batch,) bool."""
    return condition[:, STRIPPED] > 0.5


def _unfiltered(condition: Tensor) -> Tensor:
    """Return whether the noise of maps at their finest frequencies is not far below its peak."""
    import torch

    noise, frequency = _SCALE * condition[:, NYQUIST:KNOWN], torch.as_tensor(RESOLVED, dtype=torch.float32)
    # Of a map with voxels coarser than those of the net's grid, what lies beyond its own Nyquist frequency is no noise.
    finest = 0.5 * torch.exp(-condition[:, KNOWN + 2].clamp_min(0))[:, None]
    place = frequency.to(condition.device) / finest
    last = (place > _LAST[0]) & (place <= _LAST[1])
    peak = torch.where(place <= _LAST[1], noise, -math.inf).amax(1)
    return (noise * last).sum(1) / last.sum(1).clamp_min(1) > peak - math.log(_FILTERED)
