"""What a map, and the answer that a model gives of it, themselves give reason to doubt: in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emres.model.condition import KNOWN, log_spectrum
from emres.run.prepare import finest_answer
from emres.volume.spectrum import RESOLVED

if TYPE_CHECKING:
    from emres.model.contract import Contract
    from emres.volume.grid import Grid

# Median local over reported resolution: 99 of 100 simulated maps lie between 0.99 and 1.6.
_LIKELY = (0.9, 1.7)
_AT_FINEST, _AT_COARSEST = 1.01, 0.99  # of the limits
# Natural logarithm of how far the power rises towards finer shells: of simulated deposits 2 in 100 lie beyond; from
# the third shell on, as the first two hold the shape of the molecule alone.
_RISES, _SHAPE = 2.5, 2
# A low-pass: the power falls by so much, natural logarithm, over a quarter of an octave; it cuts where the power first
# falls nearly as much (0.98 +- 0.07 of where it does, of 90 validation averages). An answer somewhat coarser than the
# cut is doubted, too, where that much may be more than half an ångström. Of 47 answers, blind and told, that a low-pass
# of 34 validation averages moved by more than 0.3 Å, 4 are not doubted (11 without that); of 74 validation deposits
# whose blind answer is right 33 are, for any reason (30), 1 of 29 finer than 4 Å (1).
_FALLS, _CUTS, _WITHIN = 3.0, 2.5, 1.2
_NEAR, _COARSE = 1.15, 4.0  # times a cut that is coarser than so many Å
# Å, one standard deviation in the middle of a map; where a mask left no noise to measure a map by, its level is less
# sure than that says. Of 286 validation maps, blind, 149 lie beyond it, 9 of the 103 finer than 6 Å: 97 of the 112 that
# were off by more than 0.3 Å in the mean are among them, and 45 of the 47 by more than 0.5 Å. (0.5 Å for all, before:
# 90, 4; 66 and 35.)
_UNSURE, _UNSURE_MASKED = 0.4, 0.3
# Voxels of a molecule in a face of its box, over a plane of it: of 40 validation averages and their 120 deposits none
# lies beyond, of the same 40 cut to half all do (0.17 at most; 0.22 at least).
_CUT_THROUGH = 0.2


def doubts(
    median: float,
    sigma: float,
    reported: float | None,
    condition: Sequence[float],
    contract: Contract,
    grids: tuple[Grid, Grid],
) -> list[str]:
    """Return what is to be said of an answer that itself gives reason to doubt it, in sentences.

    Parameters
    ----------
    median : float
        Å, of the local resolution.
    sigma : float
        Å, the median of its standard deviation.
    reported : float, optional
        Å, of the whole map, if it was told.
    condition : sequence of float
        What the net was told of the map; nothing if it is told nothing.
    contract : Contract
        Of the model.
    grids : (Grid, Grid)
        The map's, and the model's.
    """
    grid, working = grids
    size = working.voxel_size[0]
    limits = at_its_limit(median, finest_answer(grid), contract.valid_range[1] * size)
    shown = not len(condition) or condition[KNOWN] > 0
    of_answer = far_from_reported(median, reported) + limits + unsure(sigma, reported, noise_shown=shown)
    if not len(condition):
        return of_answer
    return of_answer + sharpened_too_far(condition) + low_passed(median, condition, size)


def stripped_of_the_rest(stripped: bool) -> list[str]:
    """Return a sentence if nothing in a map lies below its background, else nothing.

    Examples
    --------
    >>> stripped_of_the_rest(False)
    []
    """
    if not stripped:
        return []
    return [
        "nothing in the map lies below its background: what is negative, or lies below a contour, was taken away, and "
        "with it much of what tells signal from noise; predict the map from before that, or compare with half maps, "
        "emres estimate --method fsc"
    ]


def cut_through(cut: float) -> list[str]:
    """Return a sentence if a face of its box cuts through the molecule, else nothing.

    Parameters
    ----------
    cut : float
        As of :meth:`emres.volume.faces.Faces.cut`.

    Examples
    --------
    >>> cut_through(0.0)
    []
    """
    if cut <= _CUT_THROUGH:
        return []
    return [
        "the molecule goes on beyond a face of the box: what is left of it there tells less, and crystals, tomograms "
        "and fibres were not in the training; predict the whole map, or compare with half maps, emres estimate "
        "--method fsc"
    ]


def sharpened_too_far(condition: Sequence[float]) -> list[str]:
    """Return a sentence if the power of a map rises towards fine detail as no signal's does, else nothing.

    Parameters
    ----------
    condition : sequence of float
        What a net is told of the map.

    Examples
    --------
    >>> from emres.model.condition import LENGTH
    >>> sharpened_too_far([0.0] * LENGTH)
    []
    """
    power = log_spectrum(condition)[_SHAPE:]
    rise = float((power - np.minimum.accumulate(power)).max())
    if rise <= _RISES:
        return []
    return [
        f"fine detail is {np.exp(rise):.0f} times as strong as coarser: the map was sharpened so far that noise "
        "outweighs the molecule; predict it before sharpening, or sharpened less"
    ]


def low_passed(median: float, condition: Sequence[float], voxel_size: float) -> list[str]:
    """Return a sentence if a map was low-passed about where the answer lies, or coarser, else nothing.

    Parameters
    ----------
    median : float
        Å, of the local resolution.
    condition : sequence of float
        What a net is told of the map.
    voxel_size : float
        Å, of the model's grid.

    Examples
    --------
    >>> from emres.model.condition import LENGTH
    >>> low_passed(5.0, [0.0] * LENGTH, 1.5)
    []
    """
    power, places = log_spectrum(condition), np.log(RESOLVED)
    beyond = np.maximum.accumulate(power[::-1])[::-1]  # a spectrum that comes back had but a dip
    falls = power - np.interp(places + np.log(_WITHIN), places, beyond)
    falls[: _SHAPE - 1] = 0
    first = int(np.argmax(falls > _CUTS))
    cut = voxel_size / (RESOLVED[first] * np.sqrt(_WITHIN))
    doubtful = cut * _NEAR if cut > _COARSE else cut
    if falls.max() <= _FALLS or doubtful <= median:
        return []
    return [
        f"the map's spectrum breaks off at {cut:.3g} Å, as after a low-pass, and the median local resolution is "
        f"{median:.3g} Å: finer detail may have been filtered out; predict it before the filter, or compare with half "
        "maps, emres estimate --method fsc"
    ]


def far_from_reported(median: float, reported: float | None) -> list[str]:
    """Return a sentence if an answer does not go with the resolution that was told, else nothing.

    Parameters
    ----------
    median : float
        Å, of the local resolution.
    reported : float, optional
        Å, of the whole map.

    Examples
    --------
    >>> far_from_reported(3.9, 3.4), far_from_reported(3.9, None)
    ([], [])
    """
    if reported is None or _LIKELY[0] <= median / reported <= _LIKELY[1]:
        return []
    return [
        f"the median local resolution, {median:.3g} Å, is {median / reported:.2g} times the reported {reported:.3g} Å "
        f"(usual: {_LIKELY[0]:g} to {_LIKELY[1]:g}): check the mask and what was reported, or compare with half maps, "
        "emres estimate --method fsc"
    ]


def at_its_limit(median: float, finest: float, coarsest: float) -> list[str]:
    """Return a sentence if most of an answer is the finest or the coarsest that can be given, Å, else nothing.

    Examples
    --------
    >>> at_its_limit(12.0, 2.2, 22.6)
    []
    """
    if median <= _AT_FINEST * finest:
        return [
            f"half of the molecule or more is at {finest:.3g} Å, two voxels of the map: it is resolved to that or "
            "better, and no map with such voxels can show more"
        ]
    if median >= _AT_COARSEST * coarsest:
        return [
            f"half of the molecule or more is at {coarsest:.3g} Å, the coarsest that the model answers on this map: it "
            "is resolved to that or worse, or the mask holds more than the molecule"
        ]
    return []


def unsure(sigma: float, reported: float | None = None, *, noise_shown: bool = True) -> list[str]:
    """Return a sentence if a model is not sure of an answer, else nothing.

    Parameters
    ----------
    sigma : float
        Å, the median of its standard deviation.
    reported : float, optional
        Å, of the whole map, if it was told.
    noise_shown : bool
        Whether there is noise beside the molecule to measure it by. Where a mask took it, less is known than a standard
        deviation says: a whole answer may be too fine, or too coarse.

    Examples
    --------
    >>> unsure(0.3)
    []
    """
    if sigma <= (_UNSURE if noise_shown else _UNSURE_MASKED):
        return []
    cure = "" if reported is not None else "tell the reported resolution (--resolution), or "
    return [
        f"half of the molecule is known to {sigma:.2g} Å or worse (one standard deviation): the map alone tells "
        f"no better how fine it is; {cure}compare with half maps, emres estimate --method fsc"
    ]
