"""What a net is told of the map that a training patch is of."""

from __future__ import annotations

from typing import Any

import numpy as np

from emres.model.augment import Augmentation, drawn, varied_spectra
from emres.model.condition import condition_of
from emres.model.cut import CutPlan
from emres.model.patch_source import MapFacts, Source
from emres.model.patch_spec import PatchSpec
from emres.volume.one_map_fsc import Levels

Array = np.ndarray[Any, Any]


def told_of(source: Source, spec: PatchSpec, plan: CutPlan) -> tuple[Array, Levels | None]:
    """Return what a net is told of the map that a patch is of, after what is done to the patch.

    Returns
    -------
    (LENGTH,) float32, Levels or None
        See :func:`told_condition`.
    """
    facts = source.facts[spec.density]
    return told_condition(facts, source.reported, source.finest, plan.augmentation, spec.seed)


def told_condition(
    facts: MapFacts, reported: float | None, finest: float, varied: Augmentation, seed: int
) -> tuple[Array, Levels | None]:
    """Return what a net is told of a map, after what is done to it.

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
    (LENGTH,) float32, Levels or None
        See :func:`emres.model.condition.condition_of`; what the local power shows: filters do not change that.
    """
    spectra = varied_spectra(facts.spectra, varied, finest, seed) if varied.varies else facts.spectra
    draw, _ = drawn(varied, seed)
    told = reported * draw.report if draw.told and reported else None
    known = any(spectra.outside)
    levels = facts.shown if known else facts.usual
    # Untold, a net's first guess stands in for what is reported: good enough for a pattern, not for its level.
    shown = levels.median if levels is not None and (known or told) else None
    return condition_of(spectra, told, shown), levels
