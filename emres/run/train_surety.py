"""How far off the answers for stripped maps are: no patch is of one, but their places tell."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from emres.model.augment import Augmentation
from emres.model.condition import STRIPPED_KIND, kinds_of
from emres.model.contract import ONE_SIGMA
from emres.model.level import LevelReader
from emres.model.level_fit import WholeMap
from emres.model.place import PlaceReader
from emres.model.place_fit import PlaceExamples
from emres.model.train import Moment
from emres.model.train_plan import TrainPlan
from emres.model.whole_map import guess
from emres.run.handled_maps import looked_at, taken_again
from emres.run.patch_sources import DataSetOpener
from emres.run.train_lessons import Tell, examples_of, is_made, maps_apart, place_examples, row_of

if TYPE_CHECKING:
    from torch import nn

    from emres.model.loader import PatchStream

Array = np.ndarray[Any, Any]
Known = tuple[WholeMap, PlaceExamples]


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
    _, stripped = maps_apart(stream, looked_at(plan), tell)
    if not all(map(is_made, stripped)):
        return
    film: Any = net.film
    readers = copy.deepcopy(film.stripped).cpu().eval()
    places = place_examples(stream, stripped, plan.seed)
    told = [(one, some) for one, some in zip(stripped, places, strict=True) if some]
    blind = [(one, some) for one, some in _as_guessed(told, stream, readers.level, plan.seed, tell) if some]
    for mode, known in enumerate((blind, told)):
        if found := _all_errors(readers.places, known, mode):
            film.surety[STRIPPED_KIND, mode] = math.log(_within(found))


def _as_guessed(
    known: Sequence[Known], stream: PatchStream, reader: LevelReader, seed: int, tell: Tell
) -> Iterator[tuple[WholeMap, PlaceExamples | None]]:
    """Yield maps with places read as where nothing is told: in windows for what a reader guesses, if no noise shows.

    What is kept of them was read in windows for a better guess, by which they know what is to be learnt.
    """
    opener = stream.opener
    assert isinstance(opener, DataSetOpener)
    for number, (one, kept) in enumerate(known, 1):
        tell(Moment(number, len(known), 0.0, 0.0, what="stripped maps read"))
        if any(one.facts.spectra.outside):
            yield one, kept
            continue
        size = one.facts.spectra.voxel_size
        resolution = size * guess(reader, one.told(Augmentation(), 0), (one.valid[0] / size, one.valid[1] / size))
        _, curves, target = taken_again(opener.dataset, row_of(stream, one), stream.cut, one.key, resolution)
        yield one, examples_of(one, curves, target, np.random.default_rng([seed, number]))


def _within(errors: list[Array]) -> float:
    """Return what 68 % of the errors of some maps stay within, every map counting alike."""
    weights = np.concatenate([np.full(len(one), 1 / len(one)) for one in errors])
    return float(np.quantile(np.concatenate(errors), ONE_SIGMA, weights=weights, method="inverted_cdf"))


def _all_errors(reader: PlaceReader, known: list[Known], told: int) -> list[Array]:
    """Return how far off readings of the places of every map are, of which a resolution is told or not."""
    found = []
    for one, places in known:
        condition = torch.from_numpy(one.told(Augmentation(told=float(told)), 0))[None]
        if int(kinds_of(condition)[1]) == told:
            found.append(_errors(reader, condition, places))
    return found


def _errors(reader: PlaceReader, condition: torch.Tensor, places: PlaceExamples) -> Array:
    """Return how far off readings of places are, natural logarithm, where that is known."""
    with torch.inference_mode():
        found = reader(condition, torch.from_numpy(places.curves.astype(np.float32))[None])[0].numpy()
    off = np.abs(found - places.levels)
    return np.asarray(off[np.isfinite(off)])
