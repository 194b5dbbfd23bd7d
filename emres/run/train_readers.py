"""What reads whole maps and their places learns first; then it reads the maps that patches are cut from, once."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from emres.archive.manifest import Row
from emres.errors import UsageError
from emres.model.augment import Augmentation
from emres.model.level_fit import TellStep, WholeMap, fit_levels, level_examples
from emres.model.patch_source import MapFacts, Source
from emres.model.place import PlaceReader, read_places
from emres.model.place_fit import PLACES, PlaceExamples, fit_places
from emres.model.told import told_condition
from emres.model.train import Moment
from emres.model.train_plan import TrainPlan
from emres.run.handled_maps import Handled, handled_maps
from emres.run.patch_curves import curves_path, read_curves
from emres.run.patch_facts import facts_key, size_for
from emres.run.patch_sources import DataSetOpener
from emres.volume.levels import Levels
from emres.volume.place_curves import PlaceCurves

if TYPE_CHECKING:
    from torch import nn

    from emres.model.loader import PatchStream

Array = np.ndarray[Any, Any]
Tell = Callable[[Moment], None]

_LEVEL_STEPS, _PLACE_STEPS = 1500, 2500
_HANDLED_VARIANTS = 3  # of 8 that a map of the data set has: a quarter of what readers see, if there are four
_FINEST_VOXELS = 2.0001  # of a map: nothing finer is in it
_FEWEST = 8  # places of a map that it is worth learning from


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
    lessons = _lessons(stream, plan, tell)
    levels = np.array([one.level for one in lessons.maps])[lessons.of]
    fit_levels(
        net.film.level,  # type: ignore[union-attr, arg-type]
        lessons.conditions, levels, _steps(plan, _LEVEL_STEPS), plan.seed, _told_of("levels", tell),
    )  # fmt: skip
    _learn_places(net, lessons, plan, _steps(plan, _PLACE_STEPS), tell)


def learn_from_all(net: nn.Module, stream: PatchStream, plan: TrainPlan, tell: Tell) -> None:
    """Teach the reader of places once more, now every member from all maps.

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
    lessons = _lessons(stream, plan, tell)
    places = [one and replace(one, part=None) for one in lessons.places]
    steps = 2 * _steps(plan, _PLACE_STEPS)  # nobody waits to learn from them
    _learn_places(net, replace(lessons, places=places), plan, steps, tell)


@dataclass(frozen=True)
class _Lessons:
    """What readers learn from: maps, what may be told of them and of which map it is, and some places of each map."""

    maps: list[WholeMap]
    conditions: Array
    of: Array
    places: list[PlaceExamples | None]


def _lessons(stream: PatchStream, plan: TrainPlan, tell: Tell) -> _Lessons:
    maps = level_maps(stream)
    maps += handled_examples(stream, maps, plan.handled, tell)
    conditions, of = level_examples(maps, stream.cut.augmentation, plan.seed)
    places = place_examples(stream, maps, plan.seed)
    if not any(places):
        raise UsageError(
            f"{plan.architecture} learns from whole maps",
            got=f"{len(maps)} maps without {_FEWEST} places that have a target which was not capped",
            cure="train another architecture, such as compact_unet",
        )
    return _Lessons(maps, conditions, of, places)


def _learn_places(net: nn.Module, lessons: _Lessons, plan: TrainPlan, steps: int, tell: Tell) -> None:
    reader: PlaceReader = net.film.places  # type: ignore[union-attr, assignment]
    device, told = reader.curves.places.device, _told_of("places", tell)
    fit_places(reader.cpu(), lessons.places, lessons.conditions, lessons.of, steps, plan.seed, told)
    reader.to(device)  # where the net has learnt meanwhile


def _told_of(what: str, tell: Tell) -> TellStep:
    return lambda step, steps, loss, rate: tell(Moment(step, steps, loss, rate, what=what))


def _steps(plan: TrainPlan, most: int) -> int:
    return min(2 * plan.steps, most) if plan.level_steps is None else plan.level_steps


def level_maps(stream: PatchStream) -> list[WholeMap]:
    """Return the maps that patches are cut from; as long as there are others, without those of partly capped targets.

    A capped voxel says no more than that it is no finer: a median with some of them in it is too coarse.
    """
    found: list[WholeMap] = []
    capped: list[WholeMap] = []
    for row, source, density, key in _maps(stream):
        facts = source.facts[density]
        one = WholeMap(
            row.entry, density, facts, source.reported, source.finest, row.resolution, key, source.valid, part_of(row)
        )
        (found if source.coarsest < source.valid[1] else capped).append(one)
    return found or capped


def part_of(row: Row) -> int:
    """Return the part of the maps that an entry's family lies in, as good as any number."""
    return int.from_bytes(hashlib.sha256(row.family.encode()).digest()[:4], "little")


def handled_examples(stream: PatchStream, maps: list[WholeMap], count: int, tell: Tell) -> list[WholeMap]:
    """Return what more became of the averages of some maps; see :mod:`emres.run.handled_maps`.

    Their level is the median of the target where their places are: a part of a molecule has its own.
    """
    opener = stream.opener
    assert isinstance(opener, DataSetOpener)
    whole, rows = _by_place(maps), rows_of_maps(stream, maps)

    def told(done: int, of: int) -> None:
        tell(Moment(done, of, 0.0, 0.0, what="maps handled"))

    found = []
    for one in handled_maps(opener.dataset, rows, stream.cut, count, told) if count else ():
        curves, target = read_curves(opener.dataset, one.key)
        known = target[curves.inside & (target > 0)]
        if len(known) >= _FEWEST:
            finest = _FINEST_VOXELS * (one.facts.spectra.sampling or 0.0)
            found.append(_handled(whole[_place(one.row)], one, max(float(np.median(known)), finest), finest))
    return found


def rows_of_maps(stream: PatchStream, maps: list[WholeMap]) -> list[Row]:
    """Return the rows of the entries that some maps are of."""
    whole = _by_place(maps)
    return [row for row in stream.opener.rows if isinstance(row, Row) and _place(row) in whole]


def _by_place(maps: list[WholeMap]) -> dict[str, WholeMap]:
    """Return a map of each entry, by store and entry: names are no keys over stores."""
    return {one.key.rsplit("/", 2)[0]: one for one in maps}


def _place(row: Row) -> str:
    return f"{row.store}/{row.entry}"


def _handled(like: WholeMap, one: Handled, resolution: float, finest: float) -> WholeMap:
    """Return a map as it is known to readers, from one of the same entry."""
    valid = max(like.valid[0], finest), like.valid[1]
    return replace(
        like,
        density=f"handled-{one.number}",
        facts=one.facts,
        resolution=resolution,
        key=one.key,
        valid=valid,
        variants=_HANDLED_VARIANTS,
    )


def place_examples(stream: PatchStream, maps: list[WholeMap], seed: int) -> list[PlaceExamples | None]:
    """Return some places of every molecule; None of one that has few with a target that was not capped."""
    opener = stream.opener
    assert isinstance(opener, DataSetOpener)
    return [_examples(opener, one, np.random.default_rng([seed, k])) for k, one in enumerate(maps)]


def _examples(opener: DataSetOpener, one: WholeMap, rng: np.random.Generator) -> PlaceExamples | None:
    if not curves_path(opener.dataset, one.key).exists():  # cubes of many maps
        return None
    curves, target = read_curves(opener.dataset, one.key)
    chosen = np.sort(rng.permutation(np.flatnonzero(curves.inside))[:PLACES])
    found = target[chosen]
    known = (found > one.valid[0]) & (found < one.valid[1])
    if known.sum() < _FEWEST:
        return None
    levels = np.log(np.where(known, found, np.nan) / one.facts.spectra.voxel_size)
    return PlaceExamples(curves.values[chosen], levels.astype(np.float32), one.part)


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
    readers = copy.deepcopy(net.film).cpu().eval()  # type: ignore[union-attr]
    count = sum(len(row.densities) for row in opener.rows)
    for number, (row, source, density, key) in enumerate(_maps(stream), 1):
        facts = source.facts[density]
        curves = None if row.lattice else read_curves(opener.dataset, key)[0]
        asked = _strangers(readers, row) if learnt else None
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


def _maps(stream: PatchStream) -> Iterator[tuple[Row, Source, str, str]]:
    """Yield the row, the open entry, the density and the key of the facts of every map."""
    opener = stream.opener
    assert isinstance(opener, DataSetOpener)
    opened = opener.open()
    for number, row in enumerate(opener.rows):
        source = opened.source(number)
        for density in row.densities:
            yield row, source, density, facts_key(opener.dataset, row, density, size_for(row, opener.cut))
