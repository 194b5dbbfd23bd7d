"""What reads whole maps and their places learns first; then it reads the maps that patches are cut from, once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from emres.archive.manifest import Row
from emres.errors import UsageError
from emres.model.augment import Augmentation
from emres.model.level_fit import TellStep, WholeMap, fit_levels
from emres.model.patch_source import MapFacts, Source
from emres.model.place import read_places
from emres.model.place_fit import fit_places
from emres.model.told import told_condition
from emres.model.train import Moment
from emres.model.train_plan import TrainPlan
from emres.run.handled_maps import wanted
from emres.run.patch_curves import read_curves
from emres.run.patch_sources import DataSetOpener
from emres.run.train_lessons import FEWEST, Lessons, Tell, is_made, lessons_of, maps_apart, maps_of, part_of
from emres.volume.levels import Levels
from emres.volume.place_curves import PlaceCurves

if TYPE_CHECKING:
    from torch import nn

    from emres.model.loader import PatchStream

Array = np.ndarray[Any, Any]

_LEVEL_STEPS, _PLACE_STEPS = 1500, 2500


def learn_readers(net: nn.Module, stream: PatchStream, plan: TrainPlan, tell: Tell) -> None:
    """Teach a net that is told of whole maps how fine they are, as a whole and round each place.

    Parameters
    ----------
    net : torch.nn.Module
    stream : PatchStream
        Of patches of the maps.
    plan : TrainPlan
    tell : callable
        Told of steps made.

    Raises
    ------
    UsageError
        If there is no whole map to learn from.
    StoreError
        If what was kept of a map is damaged.
    """
    usual, stripped = maps_apart(stream, wanted(plan), tell)
    film: Any = net.film
    lessons, steps = _lessons(stream, usual, plan), _steps(plan, _PLACE_STEPS)
    _learn_levels(film, lessons, plan, tell)
    _learn_places(film, lessons, plan, steps, tell)
    film.stripped.follow(film)
    if not all(map(is_made, stripped)) and (lessons_apart := lessons_of(stream, stripped, plan)):
        _learn_stripped(film, lessons_apart, plan, steps, tell)  # patches are cut from some of them


def learn_from_all(net: nn.Module, stream: PatchStream, plan: TrainPlan, tell: Tell) -> None:
    """Teach the reader of places once more, now every member from all maps; and what reads stripped maps.

    While a net learns, its readers must be as far off as they will be elsewhere: so each had a part of the maps that
    it did not learn from. When the net is done, that is no longer wanted.

    Parameters
    ----------
    net, stream, plan, tell
        As for :func:`learn_readers`, which this one has learnt by.

    Raises
    ------
    StoreError
        If what was kept of a map is damaged.
    """
    usual, stripped = maps_apart(stream, wanted(plan), tell)
    film: Any = net.film
    steps = 2 * _steps(plan, _PLACE_STEPS)  # nobody waits to learn from them
    _learn_places(film, _lessons(stream, usual, plan).by_all(), plan, steps, tell)
    film.stripped.follow(film)
    if lessons_apart := lessons_of(stream, stripped, plan):
        _learn_stripped(film, lessons_apart.by_all(), plan, steps, tell)


def _lessons(stream: PatchStream, maps: list[WholeMap], plan: TrainPlan) -> Lessons:
    found = lessons_of(stream, maps, plan)
    if found is None:
        raise UsageError(
            f"{plan.architecture} learns from whole maps",
            got=f"{len(maps)} maps without {FEWEST} places that have a target which was not capped",
            cure="train another architecture, such as compact_unet",
        )
    return found


def _learn_stripped(film: Any, lessons: Lessons, plan: TrainPlan, steps: int, tell: Tell) -> None:
    """Teach readers of stripped maps, which know what those of usual maps do."""
    _learn_levels(film.stripped, lessons, plan, tell)
    _learn_places(film.stripped, lessons, plan, steps, tell)


def _learn_levels(readers: Any, lessons: Lessons, plan: TrainPlan, tell: Tell) -> None:
    levels = np.array([one.level for one in lessons.maps])[lessons.of]
    steps, told = _steps(plan, _LEVEL_STEPS), _told_of("levels", tell)
    with _on_cpu(readers.level) as reader:
        fit_levels(reader, lessons.conditions, levels, steps, plan.seed, told)


def _learn_places(readers: Any, lessons: Lessons, plan: TrainPlan, steps: int, tell: Tell) -> None:
    with _on_cpu(readers.places) as reader:
        fit_places(
            reader, lessons.places, lessons.conditions, lessons.of, steps, plan.seed, _told_of("places", tell)
        )  # fmt: skip


@contextmanager
def _on_cpu(reader: Any) -> Iterator[Any]:
    """Yield a reader on the processor, and put it back where its net has learnt meanwhile."""
    device = reader.curves.places.device
    yield reader.cpu()
    reader.to(device)


def _told_of(what: str, tell: Tell) -> TellStep:
    return lambda step, steps, loss, rate: tell(Moment(step, steps, loss, rate, what=what))


def _steps(plan: TrainPlan, most: int) -> int:
    return min(2 * plan.steps, most) if plan.level_steps is None else plan.level_steps


def read_maps(net: nn.Module, stream: PatchStream, tell: Tell, *, learnt: bool = False) -> None:
    """Have a net read the maps that patches are cut from: without the reported resolution, and with it.

    Parameters
    ----------
    net : torch.nn.Module
    stream : PatchStream
        Whose maps' facts are completed.
    tell : callable
        Told of maps read.
    learnt : bool
        Whether its readers learnt from these very maps: each is then read by the members that did not, as a net has to
        learn how far they are off elsewhere.

    Raises
    ------
    StoreError
        If what was kept of a map is damaged.
    """
    opener = stream.opener
    assert isinstance(opener, DataSetOpener)
    film: Any = copy.deepcopy(net.film).cpu().eval()  # type: ignore[union-attr]
    count = sum(len(row.densities) for row in opener.rows)
    for number, (row, source, density, key) in enumerate(maps_of(stream), 1):
        facts = source.facts[density]
        curves = None if row.lattice else read_curves(opener.dataset, key)[0]
        asked, readers = _strangers(film, row) if learnt else None, film.readers(facts.stripped)
        blind, told = (_read(readers, _told(facts, source, share), curves, asked) for share in (0.0, 1.0))
        opener.facts[key] = replace(facts, read=(blind, told))
        tell(Moment(number, count, 0.0, 0.0, what="maps read"))


def _told(facts: MapFacts, source: Source, share: float) -> Array:
    return told_condition(facts, source.reported, source.finest, Augmentation(told=share), 0)


def _strangers(readers: Any, row: Row) -> list[int] | None:
    """Return the members of a reader of places that did not learn from an entry; None, for all, of one alone."""
    members = len(readers.places.members)
    return [part_of(row) % members] if members > 1 else None


def _read(readers: Any, condition: Array, curves: PlaceCurves | None, members: list[int] | None) -> Levels:
    """Return what is read of a map; of cubes, which have no places, the level of all alike."""
    if curves is not None:
        return read_places(readers.places, condition, curves, members)
    with torch.inference_mode():
        level = float(readers.level(torch.from_numpy(condition)[None]))
    return Levels(np.full((1, 1, 1), level, dtype=np.float32), (0, 0, 0), 1, level)
