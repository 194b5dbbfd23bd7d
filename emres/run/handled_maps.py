"""Averages of half maps that more became of than their depositors do: readers of whole maps learn from these, too.

They are sharpened too far or blurred, low-passed elsewhere, masked, cut through, on other voxels: half of them several
of these at once, half but one. Others are stripped of all below their background, half of them beside nothing else, and
have readers of their own. The target stays what it was.
Nothing but their numbers and curves is kept, as of the maps of a data set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emres.archive.manifest import DataSet, Row
from emres.errors import MapError
from emres.model.cut import CutPlan
from emres.model.patch_source import MapFacts
from emres.model.train_plan import TrainPlan
from emres.run.kept_facts import KeptFacts
from emres.run.masks import mask_slabs
from emres.run.patch_curves import curves_path, has_no_curves, target_of, write_curves, write_no_curves
from emres.run.patch_entries import HALF_MAPS, check_row
from emres.run.patch_facts import facts_key, facts_of, guessed_for, size_for
from emres.simulate.deposit import deposit
from emres.simulate.halfmaps import HalfMaps
from emres.simulate.processings import draw_change, draw_handling, draw_stripped
from emres.simulate.recipe import Processing, Recipe
from emres.volume.grid import Triple
from emres.volume.place_curves import PlaceCurves
from emres.volume.pyramid import MemoryPyramid

Array = np.ndarray[Any, Any]

FILE = "handled.json"
HANDLED, STRIPPED = "handled", "stripped"  # kinds of what becomes of an average

_AVERAGE = "average"
_MOST_VOXELS = 2**25  # of half maps: some volumes of a simulation lie in memory
_MOST_GAIN = 5.0


@dataclass(frozen=True)
class Handled:
    """An average of half maps that more became of.

    Parameters
    ----------
    row : Row
        Whose it is.
    kind : str
        ``handled`` or ``stripped``.
    number : int
        Which of the entry's, of this kind.
    key : str
        Of its numbers.
    facts : MapFacts
    """

    row: Row
    kind: str
    number: int
    key: str
    facts: MapFacts


def handled_maps(
    dataset: DataSet, rows: Iterable[Row], cut: CutPlan, counts: Mapping[str, int], tell: Callable[[int, int], None]
) -> list[Handled]:
    """Return what became of the averages of some rows, taking what is missing and keeping it for the next time.

    Parameters
    ----------
    dataset : DataSet
    rows : iterable of Row
        Those without half maps, and those of over 320^3 voxels, have none.
    cut : CutPlan
        Of patches: whose voxels the numbers are of.
    counts : mapping
        Kind -> how many of every row.
    tell : callable
        Told how many rows are done, of how many.

    Raises
    ------
    StoreError, MapError
        If an entry is not what the manifest says.
    """
    able, found = [row for row in rows if can_be_handled(row)], []
    with KeptFacts(dataset, FILE) as kept:
        for done, row in enumerate(able, 1):
            keys = _keys(dataset, row, cut, counts)
            for key, facts in handled_facts(dataset, row, cut, _missing(dataset, keys, kept.facts)):
                kept.keep(key, facts)
            found += [Handled(row, *_which(key), key, kept.facts[key]) for key in keys if key in kept.facts]
            tell(done, len(able))
    return found


def wanted(plan: TrainPlan) -> dict[str, int]:
    """Return how many of each kind a training makes of every average."""
    return {HANDLED: plan.handled, STRIPPED: plan.stripped}


def looked_at(plan: TrainPlan) -> dict[str, int]:
    """Return how many of each kind are made of every average that a training is only measured by."""
    return {STRIPPED: min(plan.stripped, 2)}


def can_be_handled(row: Row) -> bool:
    """Whether an entry has half maps, of a volume."""
    return _AVERAGE in row.densities and not row.lattice


def missing_handled(
    dataset: DataSet, row: Row, cut: CutPlan, counts: Mapping[str, int], known: Container[str]
) -> list[str]:
    """Return the keys of what became of an average, as far as their numbers, or curves, are not known."""
    return _missing(dataset, _keys(dataset, row, cut, counts), known)


def handled_facts(dataset: DataSet, row: Row, cut: CutPlan, keys: Collection[str]) -> Iterator[tuple[str, MapFacts]]:
    """Yield the numbers of what became of an average, and write the curves; nothing where no molecule is left to find.

    Raises
    ------
    StoreError, MapError
        If the entry is not what the manifest says, or curves cannot be written.
    """
    if not keys:
        return
    halves = _halves(dataset, row)
    for key in keys:
        try:
            facts, curves, start = _handled(halves, row, cut, *_which(key))
        except MapError:  # no molecule is left
            write_no_curves(dataset, key)
            continue
        write_curves(dataset, row, key, curves, facts.spectra.voxel_size, start)
        yield key, facts


def taken_again(
    dataset: DataSet, row: Row, cut: CutPlan, key: str, resolution: float
) -> tuple[MapFacts, PlaceCurves, Array]:
    """Take the numbers of what became of an average, its curves and their targets, Å, as if so much was guessed of it.

    Nothing is kept of them.

    Parameters
    ----------
    dataset, row, cut
        As for :func:`handled_maps`.
    key : str
        Of its numbers, as they were taken before.
    resolution : float
        Å, of the map: its windows are for that, if its noise does not show.

    Raises
    ------
    StoreError
        If the entry is not what the manifest says.
    """
    facts, curves, start = _handled(_halves(dataset, row), row, cut, *_which(key), guessed=resolution)
    return facts, curves, target_of(dataset, row, curves, facts.spectra.voxel_size, start)


def _keys(dataset: DataSet, row: Row, cut: CutPlan, counts: Mapping[str, int]) -> list[str]:
    """Return the keys of what becomes of the average of a row; none if it is large."""
    grid = check_row(dataset, row).grid(row.target)
    if grid.voxels > _MOST_VOXELS:
        return []
    base = facts_key(dataset, row, _AVERAGE, size_for(row, cut))
    return [
        f"{base}/{kind}-{_digest(_drawn(row, grid.mean_voxel_size, kind, number)[0])}-{number}"
        for kind, count in counts.items()
        for number in range(count)
    ]


def _which(key: str) -> tuple[str, int]:
    """Return the kind and the number that a key is of."""
    kind, _, number = key.rsplit("/", 1)[1].split("-")
    return kind, int(number)


def _drawn(row: Row, voxel_size: float, kind: str, number: int) -> tuple[Processing, int]:
    """Return what becomes of an average, and the seed of the place that is cut out."""
    seed = int.from_bytes(hashlib.sha256(f"{row.entry}{_name(kind, number)}".encode()).digest()[:7], "little")
    resolution, alone = row.reported or row.resolution, number % 2 == 1
    if kind == STRIPPED:
        return draw_stripped(seed, resolution, voxel_size, alone=alone), seed
    return (draw_change if alone else draw_handling)(seed, resolution, voxel_size), seed


def _name(kind: str, number: int) -> str:
    """Return what tells one that is made of an average from the others: its draws follow from it."""
    return f" {number}" if kind == HANDLED else f" {kind} {number}"


def _digest(how: Processing) -> str:
    """Return what tells one thing that is done to a map from any other."""
    return hashlib.sha256(repr(how).encode()).hexdigest()[:8]


def _missing(dataset: DataSet, keys: list[str], known: Container[str]) -> list[str]:
    taken = {key for key in keys if key in known and curves_path(dataset, key).exists()}
    return [key for key in keys if key not in taken and not has_no_curves(dataset, key)]


def _halves(dataset: DataSet, row: Row) -> HalfMaps:
    """Return the half maps of an entry, its molecule where the target is."""
    group = check_row(dataset, row)
    grid = group.grid(row.target)
    one, other = (np.asarray(group.array(kind)[:], dtype=np.float32) for kind in HALF_MAPS)
    return HalfMaps(one, other, np.asarray(group.array(row.target)[:]) > 0, grid, Recipe())


def _handled(
    halves: HalfMaps, row: Row, cut: CutPlan, kind: str, number: int, guessed: float | None = None
) -> tuple[MapFacts, PlaceCurves, Triple]:
    """Return the numbers of a map, its curves, and where it starts, Å from the first voxel of its half maps."""
    how, seed = _drawn(row, halves.grid.mean_voxel_size, kind, number)
    recipe = Recipe(seed=seed)  # for the place of what is cut out
    density, grid = deposit(replace(halves, recipe=recipe), how, most_gain=_MOST_GAIN)
    source, working = MemoryPyramid(density, grid), grid.resampled(cut.working_voxel_size(grid.mean_voxel_size))
    guessed = guessed_for(row, _name(kind, number)) if guessed is None else guessed
    facts, curves = facts_of(source, mask_slabs(source, "auto"), working, guessed)
    assert curves is not None
    z, y, x = (a - b for a, b in zip(grid.origin, halves.grid.origin, strict=True))
    return facts, curves, (z, y, x)
