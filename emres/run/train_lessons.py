"""What readers of whole maps learn from: maps, what may be told of each, and some of its places."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.manifest import Row
from emres.model.level_fit import WholeMap, level_examples
from emres.model.patch_source import Source
from emres.model.place_fit import PLACES, PlaceExamples
from emres.model.train import Moment
from emres.model.train_plan import TrainPlan
from emres.run.handled_maps import HANDLED, STRIPPED, Handled, handled_maps
from emres.run.patch_curves import curves_path, read_curves
from emres.run.patch_facts import facts_key, size_for
from emres.run.patch_sources import DataSetOpener
from emres.volume.place_curves import PlaceCurves

if TYPE_CHECKING:
    from emres.model.loader import PatchStream

Array = np.ndarray[Any, Any]
Tell = Callable[[Moment], None]

_HANDLED_VARIANTS = 3  # of 8 that a map of the data set has: a third of what readers see, if there are six of five
_FINEST_VOXELS = 2.0001  # of a map: nothing finer is in it
FEWEST = 8  # places of a map that it is worth learning from


@dataclass(frozen=True)
class Lessons:
    """What readers learn from.

    Parameters
    ----------
    maps : list of WholeMap
    conditions : (m, LENGTH) float32
        What may be told of them.
    of : (m,) int
        The map of each.
    places : list of PlaceExamples
        Some of every map; None of one that has few with a target.
    """

    maps: list[WholeMap]
    conditions: Array
    of: Array
    places: list[PlaceExamples | None]

    def by_all(self) -> Lessons:
        """Return the same, every map for all members of a reader."""
        return replace(self, places=[one and replace(one, part=None) for one in self.places])


def maps_apart(stream: PatchStream, made: Mapping[str, int], tell: Tell) -> tuple[list[WholeMap], list[WholeMap]]:
    """Return the maps that patches are cut from and what is made of them: usual ones, and stripped ones.

    Where all maps are stripped they are the usual ones, too.

    Parameters
    ----------
    stream : PatchStream
        Of the maps.
    made : mapping
        How many of each kind are made of averages: see :mod:`emres.run.handled_maps`.
    tell : callable
        Told of averages handled.

    Raises
    ------
    StoreError
        If what was kept of a map is damaged.
    """
    maps = level_maps(stream)
    maps += handled_examples(stream, maps, made, tell)
    usual, stripped = ([one for one in maps if is_stripped(one) == which] for which in (False, True))
    return usual or stripped, stripped


def lessons_of(stream: PatchStream, maps: list[WholeMap], plan: TrainPlan) -> Lessons | None:
    """Return what readers learn from maps; None where that is too little.

    Raises
    ------
    StoreError
        If what was kept of a map is damaged.
    """
    places = place_examples(stream, maps, plan.seed)
    if not any(places):
        return None
    return Lessons(maps, *level_examples(maps, stream.cut.augmentation, plan.seed), places)


def is_stripped(one: WholeMap) -> bool:
    """Whether a map is one that was stripped of all below its background, or a contour."""
    return one.density.startswith(STRIPPED) or (one.facts.stripped and not is_made(one))


def is_made(one: WholeMap) -> bool:
    """Whether a map is none of the data set, but was made of an average of one."""
    return one.density.startswith((HANDLED, STRIPPED))


def level_maps(stream: PatchStream) -> list[WholeMap]:
    """Return the maps that patches are cut from; as long as there are others, without those of partly capped targets.

    A capped voxel says no more than that it is no finer: a median with some of them in it is too coarse.
    """
    found: list[WholeMap] = []
    capped: list[WholeMap] = []
    for row, source, density, key in maps_of(stream):
        facts = source.facts[density]
        one = WholeMap(
            row.entry, density, facts, source.reported, source.finest, row.resolution, key, source.valid, part_of(row)
        )
        (found if source.coarsest < source.valid[1] else capped).append(one)
    return found or capped


def part_of(row: Row) -> int:
    """Return the part of the maps that an entry's family lies in, as good as any number."""
    return int.from_bytes(hashlib.sha256(row.family.encode()).digest()[:4], "little")


def handled_examples(
    stream: PatchStream, maps: list[WholeMap], counts: Mapping[str, int], tell: Tell
) -> list[WholeMap]:
    """Return what more became of the averages of some maps; see :mod:`emres.run.handled_maps`.

    Their level is the median of the target where their places are: a part of a molecule has its own.
    """
    opener = stream.opener
    assert isinstance(opener, DataSetOpener)
    whole, rows = _by_place(maps), rows_of_maps(stream, maps)

    def told(done: int, of: int) -> None:
        tell(Moment(done, of, 0.0, 0.0, what="maps handled"))

    found = []
    for one in handled_maps(opener.dataset, rows, stream.cut, counts, told):
        curves, target = read_curves(opener.dataset, one.key)
        known = target[curves.inside & (target > 0)]
        if len(known) >= FEWEST:
            finest = _FINEST_VOXELS * (one.facts.spectra.sampling or 0.0)
            found.append(_handled(whole[_place(one.row)], one, max(float(np.median(known)), finest), finest))
    return found


def rows_of_maps(stream: PatchStream, maps: list[WholeMap]) -> list[Row]:
    """Return the rows of the entries that some maps are of."""
    whole = _by_place(maps)
    return [row for row in stream.opener.rows if isinstance(row, Row) and _place(row) in whole]


def row_of(stream: PatchStream, one: WholeMap) -> Row:
    """Return the row of the entry that a map, or what it was made of, is of."""
    place = _place_of(one)
    return next(row for row in stream.opener.rows if isinstance(row, Row) and _place(row) == place)


def _by_place(maps: list[WholeMap]) -> dict[str, WholeMap]:
    """Return a map of each entry, by store and entry: names are no keys over stores."""
    return {_place_of(one): one for one in maps}


def _place_of(one: WholeMap) -> str:
    return one.key.rsplit("/", 3 if is_made(one) else 2)[0]


def _place(row: Row) -> str:
    return f"{row.store}/{row.entry}"


def _handled(like: WholeMap, one: Handled, resolution: float, finest: float) -> WholeMap:
    """Return a map as it is known to readers, from one of the same entry."""
    valid = max(like.valid[0], finest), like.valid[1]
    return replace(
        like,
        density=f"{one.kind}-{one.number}",
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
    return examples_of(one, *read_curves(opener.dataset, one.key), rng)


def examples_of(one: WholeMap, curves: PlaceCurves, target: Array, rng: np.random.Generator) -> PlaceExamples | None:
    """Return some places of a molecule; None if it has few with a target that was not capped.

    Parameters
    ----------
    one : WholeMap
    curves : PlaceCurves
    target : (n,) float
        Å, at each place.
    rng : numpy.random.Generator
        Chooses among them.
    """
    chosen = np.sort(rng.permutation(np.flatnonzero(curves.inside))[:PLACES])
    found = target[chosen]
    known = (found > one.valid[0]) & (found < one.valid[1])
    if known.sum() < FEWEST:
        return None
    levels = np.log(np.where(known, found, np.nan) / one.facts.spectra.voxel_size)
    return PlaceExamples(curves.values[chosen], levels.astype(np.float32), one.part)


def maps_of(stream: PatchStream) -> Iterator[tuple[Row, Source, str, str]]:
    """Yield the row, the open entry, the density and the key of the facts of every map."""
    opener = stream.opener
    assert isinstance(opener, DataSetOpener)
    opened = opener.open()
    for number, row in enumerate(opener.rows):
        source = opened.source(number)
        for density in row.densities:
            yield row, source, density, facts_key(opener.dataset, row, density, size_for(row, opener.cut))
