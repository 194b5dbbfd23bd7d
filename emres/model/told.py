"""What a net is told of the map that a training patch is of."""

from __future__ import annotations

from typing import Any

import numpy as np

from emres.model.augment import drawn, varied_spectra
from emres.model.condition import condition_of
from emres.model.cut import CutPlan, Source
from emres.model.patch_spec import PatchSpec

Array = np.ndarray[Any, Any]


def told_of(source: Source, spec: PatchSpec, plan: CutPlan) -> Array:
    """Return what a net is told of the map that a patch is of, after what is done to the patch.

    Returns
    -------
    (LENGTH,) float32
        See :func:`emres.model.condition.condition_of`.
    """
    varied = plan.augmentation
    spectra = source.facts[spec.density].spectra
    if varied.varies:
        spectra = varied_spectra(spectra, varied, source.finest, spec.seed)
    draw, _ = drawn(varied, spec.seed)
    told = source.reported * draw.report if draw.told and source.reported else None
    return condition_of(spectra, told)
