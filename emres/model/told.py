"""What a net is told of the map that a training patch is of."""

from __future__ import annotations

from typing import Any

import numpy as np

from emres.model.augment import drawn, varied_spectra
from emres.model.condition import condition_of
from emres.model.cut import CutPlan
from emres.model.patch_source import Source
from emres.model.patch_spec import PatchSpec
from emres.volume.one_map_fsc import Levels

Array = np.ndarray[Any, Any]


def told_of(source: Source, spec: PatchSpec, plan: CutPlan) -> tuple[Array, Levels | None]:
    """Return what a net is told of the map that a patch is of, after what is done to the patch.

    Returns
    -------
    (LENGTH,) float32, Levels or None
        See :func:`emres.model.condition.condition_of`; what the local power shows: filters do not change that.
    """
    varied = plan.augmentation
    facts = source.facts[spec.density]
    spectra = facts.spectra
    if varied.varies:
        spectra = varied_spectra(spectra, varied, source.finest, spec.seed)
    draw, _ = drawn(varied, spec.seed)
    told = source.reported * draw.report if draw.told and source.reported else None
    known = any(spectra.outside)
    levels = facts.shown if known else facts.usual
    # Untold, a net's first guess stands in for what is reported: good enough for a pattern, not for its level.
    shown = levels.median if levels is not None and (known or told) else None
    return condition_of(spectra, told, shown), levels
