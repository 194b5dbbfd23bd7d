"""What a net is told of the map that a training patch is of."""

from __future__ import annotations

from typing import Any

import numpy as np

from emres.model.augment import Augmentation, drawn, varied_spectra
from emres.model.condition import TOLD, condition_of
from emres.model.cut import CutPlan
from emres.model.patch_source import MapFacts, Source
from emres.model.patch_spec import PatchSpec
from emres.volume.levels import Levels

Array = np.ndarray[Any, Any]


def told_of(source: Source, spec: PatchSpec, plan: CutPlan) -> tuple[Array, Levels | None]:
    """Return what a net is told of the map that a patch is of, after what is done to the patch.

    Returns
    -------
    (LENGTH + 1,) float32, Levels or None
        See :func:`told_condition`, with the level of the map behind it: 0 if nothing was read. What was read; filters
        do not change that.
    """
    facts = source.facts[spec.density]
    numbers = told_condition(facts, source.reported, source.finest, plan.augmentation, spec.seed)
    levels = None if facts.read is None else facts.read[bool(numbers[TOLD + 1])]
    return with_level(numbers, levels), levels


def with_level(numbers: Array, levels: Levels | None) -> Array:
    """Return all that a net is told: numbers of the map, and the level that was read of them."""
    return np.append(numbers, np.float32(0 if levels is None else levels.median))


def told_condition(facts: MapFacts, reported: float | None, finest: float, varied: Augmentation, seed: int) -> Array:
    """Return what a reader is told of a map, after what is done to it.

    Parameters
    ----------
    facts : MapFacts
    reported : float, optional
        Å; with an error, it is told of some.
    finest : float
        Resolution, Å, beyond which nothing is sharpened.
    varied : Augmentation
    seed : int

    Returns
    -------
    (LENGTH,) float32
        See :func:`emres.model.condition.condition_of`.
    """
    spectra = varied_spectra(facts.spectra, varied, finest, seed) if varied.varies else facts.spectra
    draw, _ = drawn(varied, seed)
    told = reported * draw.report if draw.told and reported else None
    return condition_of(spectra, told, facts.shown if any(spectra.outside) else None, stripped=facts.stripped)
