"""Averages of half maps that more became of than their depositors do: readers of whole maps learn from these, too.

They are sharpened too far or blurred, low-passed elsewhere, cut through, on other voxels; the target stays what it was.
Nothing but their numbers and curves is kept, as of the maps of a data set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from emres.archive.manifest import DataSet, Row
from emres.errors import MapError
from emres.model.cut import CutPlan
from emres.model.patch_source import MapFacts
from emres.run.kept_facts import KeptFacts
from emres.run.masks import mask_slabs
from emres.run.patch_curves import curves_path, has_no_curves, write_curves, write_no_curves
from emres.run.patch_entries import HALF_MAPS, check_row
from emres.run.patch_facts import facts_key, facts_of, guessed_for, size_for
from emres.simulate.deposit import deposit
from emres.simulate.halfmaps import HalfMaps
from emres.simulate.processings import draw_handling
from emres.simulate.recipe import Processing, Recipe
from emres.volume.grid import Triple
from emres.volume.place_curves import PlaceCurves
from emres.volume.pyramid import MemoryPyramid

FILE = "handled.json"

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
    number : int
        Which of the entry's.
    key : str
        Of its numbers.
    facts : MapFacts
    """

    row: Row
    number: int
    key: str
    facts: MapFacts


def handled_maps(
    dataset: DataSet, rows: Iterable[Row], cut: CutPlan, count: int, tell: Callable[[int, int], None]
) -> list[Handled]:
    """Return what became of the averages of some rows, taking what is missing and keeping it for the next time.

    Parameters
    ----------
    dataset : DataSet
    rows : iterable of Row
        Those without half maps, and those of over 320^3 voxels, have none.
    cut : CutPlan
        Of patches: whose voxels the numbers are of.
    count : int
        Of every row.
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
            keys = _keys(dataset, row, cut, count)
            for key, facts in handled_facts(dataset, row, cut, _missing(dataset, keys, kept.facts)):
                kept.keep(key, facts)
            found += [Handled(row, k, key, kept.facts[key]) for k, key in enumerate(keys) if key in kept.facts]
            tell(done, len(able))
    return found


def can_be_handled(row: Row) -> bool:
    """Whether an entry has half maps, of a volume."""
    return _AVERAGE in row.densities and not row.lattice


def missing_handled(dataset: DataSet, row: Row, cut: CutPlan, count: int, known: Container[str]) -> list[str]:
    """Return the keys of what became of an average, as far as their numbers, or curves, are not known."""
    return _missing(dataset, _keys(dataset, row, cut, count), known)


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
            facts, curves, start = _handled(halves, row, cut, int(key.rsplit("-", 1)[1]))
        except MapError:  # no molecule is left
            write_no_curves(dataset, key)
            continue
        write_curves(dataset, row, key, curves, facts.spectra.voxel_size, start)
        yield key, facts


def _keys(dataset: DataSet, row: Row, cut: CutPlan, count: int) -> list[str]:
    """Return the keys of what becomes of the average of a row; none if it is large."""
    grid = check_row(dataset, row).grid(row.target)
    if grid.voxels > _MOST_VOXELS:
        return []
    base = facts_key(dataset, row, _AVERAGE, size_for(row, cut))
    drawn = (_drawn(row, grid.mean_voxel_size, number)[0] for number in range(count))
    return [f"{base}/handled-{_digest(how)}-{number}" for number, how in enumerate(drawn)]


def _drawn(row: Row, voxel_size: float, number: int) -> tuple[Processing, int]:
    """Return what becomes of an average, and the seed of the place that is cut out."""
    seed = int.from_bytes(hashlib.sha256(f"{row.entry} {number}".encode()).digest()[:7], "little")
    return draw_handling(seed, row.reported or row.resolution, voxel_size), seed


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


def _handled(halves: HalfMaps, row: Row, cut: CutPlan, number: int) -> tuple[MapFacts, PlaceCurves, Triple]:
    """Return the numbers of a map, its curves, and where it starts, Å from the first voxel of its half maps."""
    how, seed = _drawn(row, halves.grid.mean_voxel_size, number)
    recipe = Recipe(seed=seed)  # for the place of what is cut out
    density, grid = deposit(replace(halves, recipe=recipe), how, most_gain=_MOST_GAIN)
    source, working = MemoryPyramid(density, grid), grid.resampled(cut.working_voxel_size(grid.mean_voxel_size))
    facts, curves = facts_of(source, mask_slabs(source, "auto"), working, guessed_for(row, f" {number}"))
    assert curves is not None
    z, y, x = (a - b for a, b in zip(grid.origin, halves.grid.origin, strict=True))
    return facts, curves, (z, y, x)
