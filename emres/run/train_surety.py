"""How far off the answers for stripped maps are: no patch is of one, but their places tell, beside those of others."""

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
_STRIPPED = KINDS_OF_NOISE - 1


def widen_for_stripped(net: nn.Module, stream: PatchStream, plan: TrainPlan, tell: Tell) -> None:
    """Have a net be as much less sure of stripped maps than of usual ones as its readers are farther off there.

    Nothing is done where patches are of stripped maps, too, which :meth:`emres.model.validation.Validation.calibrate`
    goes by; or where no map is stripped.

    Parameters
    ----------
    net : torch.nn.Module
        Whose answers for usual maps are calibrated.
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
    usual, stripped = lessons_of(stream, plan, looked_at(plan), tell)
    if usual is None or stripped is None or not all(map(is_made, stripped.maps)):
        return
    film: Any = copy.deepcopy(net.film).cpu().eval()  # type: ignore[union-attr]
    surety: Any = net.film.surety  # type: ignore[union-attr]
    for told in (0, 1):
        near, sure = _error(film.places, film.surety, usual, told)
        far, _ = _error(film.stripped.places, film.surety, stripped, told)
        if near > 0 and far > 0:
            surety[_STRIPPED, told] = sure + math.log(far / near)


def _error(reader: PlaceReader, surety: torch.Tensor, lessons: Lessons, told: int) -> tuple[float, float]:
    """Return the error that 68 % of the places of maps stay within, every map counting alike; and their mean surety.

    Parameters
    ----------
    reader : PlaceReader
    surety : (kinds, 2) Tensor
    lessons : Lessons
    told : int
        Whether the reported resolution is told; 0 where there is no such map.
    """
    errors, weights, sure = [], [], []
    for one, places in zip(lessons.maps, lessons.places, strict=True):
        condition = torch.from_numpy(one.told(Augmentation(told=float(told)), 0))[None]
        noise, is_told = (int(kind) for kind in kinds_of(condition))
        if places is None or is_told != told:
            continue
        found = _errors(reader, condition, places)
        errors.append(found)
        weights.append(np.full(len(found), 1 / len(found)))
        sure.append(float(surety[noise, told]))
    return (_within(np.concatenate(errors), np.concatenate(weights)), float(np.mean(sure))) if errors else (0.0, 0.0)


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
