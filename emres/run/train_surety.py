"""How far off the answers for stripped maps are: no patch is of one, but their places tell."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from emres.model.augment import Augmentation
from emres.model.condition import KINDS_OF_NOISE, kinds_of
from emres.model.place import PlaceReader
from emres.model.place_fit import PlaceExamples
from emres.model.train_plan import TrainPlan
from emres.run.handled_maps import looked_at
from emres.run.train_lessons import Lessons, Tell, is_made, lessons_of

if TYPE_CHECKING:
    from torch import nn

    from emres.model.loader import PatchStream

Array = np.ndarray[Any, Any]

_ONE_SIGMA = 0.6827
STRIPPED_KIND = KINDS_OF_NOISE - 1


def sure_of_stripped(net: nn.Module, stream: PatchStream, plan: TrainPlan, tell: Tell) -> None:
    """Have a net say of stripped maps how far off their readers are, on maps that it did not learn from.

    Nothing is done where patches are of stripped maps, too, which :meth:`emres.model.validation.Validation.calibrate`
    goes by; or where no map is stripped.

    Parameters
    ----------
    net : torch.nn.Module
    stream : PatchStream
        Of maps that it did not learn from.
    plan : TrainPlan
    tell : callable
        Told of averages handled.

    Raises
    ------
    StoreError
        If what was kept of a map is damaged.
    """
    _, stripped = lessons_of(stream, plan, looked_at(plan), tell)
    if stripped is None or not all(map(is_made, stripped.maps)):
        return
    film: Any = net.film
    reader = copy.deepcopy(film.stripped.places).cpu().eval()
    for told in (0, 1):
        if found := _all_errors(reader, stripped, told):
            weights = [np.full(len(errors), 1 / len(errors)) for errors in found]  # every map counts alike
            film.surety[STRIPPED_KIND, told] = math.log(_within(np.concatenate(found), np.concatenate(weights)))


def _all_errors(reader: PlaceReader, lessons: Lessons, told: int) -> list[Array]:
    """Return how far off readings of the places of every map are, of which a resolution is told or not."""
    found = []
    for one, places in zip(lessons.maps, lessons.places, strict=True):
        condition = torch.from_numpy(one.told(Augmentation(told=float(told)), 0))[None]
        if places is not None and int(kinds_of(condition)[1]) == told:
            found.append(_errors(reader, condition, places))
    return found


def _errors(reader: PlaceReader, condition: torch.Tensor, places: PlaceExamples) -> Array:
    """Return how far off readings of places are, natural logarithm, where that is known."""
    with torch.inference_mode():
        found = reader(condition, torch.from_numpy(places.curves.astype(np.float32))[None])[0].numpy()
    off = np.abs(found - places.levels)
    return np.asarray(off[np.isfinite(off)])


def _within(errors: Array, weights: Array) -> float:
    """Return what 68 % of weighted errors stay within."""
    order = np.argsort(errors)
    share = np.cumsum(weights[order])
    return float(errors[order][np.searchsorted(share, _ONE_SIGMA * share[-1])])
