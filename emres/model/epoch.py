"""Which patches an epoch holds, in which order: pure functions of the rows of a data set and a seed.

::

    rows --(resolution, weight)--> visits: so many patches of this entry, at one go      no voxel is looked at
    visit --(cells of its target)--> patches: where, how turned, of which density        one coarse level is read

Entries come in random order, some at a time; their visits are interleaved. A visit finds most of what it reads in the
chunks that its neighbours decoded, and the patches of a batch still are of many entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from emres.errors import UsageError
from emres.model.augment import ROTATIONS
from emres.model.patch_spec import Cells, Entry, EpochPlan, PatchSpec, Visit

Array = np.ndarray[Any, Any]

_BIN = 0.25  # octaves of resolution that count as one kind of entry
_NEIGHBOURHOOD = 64  # voxels: a chunk
_MOST_OVER = 8.0  # times as often as weights alone would have it: a lone entry of an odd resolution is not all there is


def plan_epoch(rows: Sequence[Entry], cells: Callable[[int], Cells], plan: EpochPlan) -> list[PatchSpec]:
    """Draw the patches of an epoch, in the order in which they are cut.

    Parameters
    ----------
    rows : sequence of rows
    cells : callable
        Index of a row -> where it has a target; asked once a visit.
    plan : EpochPlan

    Returns
    -------
    list of PatchSpec
        ``plan.patches`` of them, no two alike.

    Raises
    ------
    UsageError
        If there are no rows, or not as many different patches in them.
    """
    return [spec for visit in plan_visits(rows, plan) for spec in draw_patches(visit, rows[visit.row], cells, plan)]


def plan_visits(rows: Sequence[Entry], plan: EpochPlan) -> list[Visit]:
    """Share an epoch out over the rows: equal parts to every quarter octave of resolution, within it by weight.

    Raises
    ------
    UsageError
        As :func:`plan_epoch`.
    """
    rng = np.random.default_rng([plan.seed, plan.epoch])
    counts = _counts(rows, plan, rng)
    chosen = rng.permutation(np.flatnonzero(counts))
    visits = []
    for start in range(0, len(chosen), plan.window):
        together = [
            Visit(int(row), first, min(plan.visit, int(counts[row]) - first), int(counts[row]))
            for row in chosen[start : start + plan.window]
            for first in range(0, int(counts[row]), plan.visit)
        ]
        visits += [together[k] for k in rng.permutation(len(together))]
    return visits


def by_entry(visits: Sequence[Visit]) -> list[Visit]:
    """Return one visit for each row, of all its patches, in the order in which the rows come up."""
    return [Visit(row, 0, total, total) for row, total in dict((visit.row, visit.total) for visit in visits).items()]


def shares(rows: Sequence[Entry]) -> Array:
    """Return which share of the patches each row is to have.

    Parameters
    ----------
    rows : sequence of rows

    Returns
    -------
    (rows,) float64, of sum 1

    Raises
    ------
    UsageError
        If no row has any weight.
    """
    weights = np.array([row.weight if row.voxels > 0 else 0.0 for row in rows], dtype=np.float64)
    if not weights.sum() > 0:
        raise UsageError("there is nothing to cut patches from", got=f"{len(rows)} entries, none with a weight")
    even = weights / weights.sum()
    octaves = np.log2([max(row.resolution, 0.1) for row in rows])
    bins = np.unique(np.floor(octaves / _BIN), return_inverse=True)[1]
    in_bin = np.bincount(bins, weights=weights)
    share = weights / np.where(in_bin > 0, in_bin, 1)[bins] / np.count_nonzero(in_bin)
    over = share > _MOST_OVER * even
    share[over] = _MOST_OVER * even[over]
    if not over.all():
        share[~over] *= (1 - share[over].sum()) / share[~over].sum()
    return np.asarray(share / share.sum())


def _counts(rows: Sequence[Entry], plan: EpochPlan, rng: np.random.Generator) -> Array:
    """Return the patches of every row: whole visits, in proportion to the shares to within one visit."""
    share = shares(rows)
    capacity = np.where(share > 0, [_capacity(row, plan) for row in rows], 0)
    if capacity.sum() < plan.patches:
        raise UsageError(
            "there are not as many different patches",
            got=f"{plan.patches} wanted, {capacity.sum()} voxels or cubes with a target",
            cure="ask for fewer patches an epoch",
        )
    counts = np.zeros(len(rows), dtype=np.int64)
    while (missing := plan.patches - int(counts.sum())) > 0:
        spare = np.where(counts < capacity, share, 0)
        # Systematic sampling: nobody is more than one visit off its share.
        order = rng.permutation(len(rows))
        ends = np.cumsum(spare[order]) / spare.sum() * max(missing // plan.visit, 1) + 0.999999 * rng.random()
        extra = np.zeros_like(counts)
        extra[order] = np.diff(np.floor(ends), prepend=0).astype(np.int64) * min(plan.visit, missing)
        counts = np.minimum(counts + extra, capacity)
    return counts


def _capacity(row: Entry, plan: EpochPlan) -> int:
    """Return how many different patches a row surely has."""
    return -(-row.voxels // row.lattice**3) * _turns(plan) if row.lattice else row.voxels


def _turns(plan: EpochPlan) -> int:
    return len(ROTATIONS) if plan.rotations else 1


def draw_patches(visit: Visit, row: Entry, cells: Callable[[int], Cells], plan: EpochPlan) -> Iterator[PatchSpec]:
    """Draw the patches of one visit.

    Raises
    ------
    UsageError
        If the target has fewer voxels than the row says.
    """
    rng = np.random.default_rng([plan.seed, plan.epoch, visit.row + 1])
    where = cells(visit.row)
    if row.lattice:
        centres, turns = _cubes(where, visit.total, _turns(plan), rng)
    else:
        centres = _centres(where, visit.total, plan, rng)
        turns = rng.integers(_turns(plan), size=visit.total)
    if len(centres) < visit.total:
        raise UsageError(
            f"the target of {row.entry} has changed since the data set was built",
            got=f"room for {len(centres)} patches",
            expected=f"at least {visit.total}",
            cure="build the data set again",
        )
    first_kind = int(rng.integers(len(row.densities)))
    mirrored = rng.random(visit.total) < (0.5 if plan.mirrors else 0.0)
    seeds = rng.integers(2**62, size=visit.total)
    for k in range(visit.first, visit.first + visit.count):
        z, y, x = (float(value) for value in centres[k])
        # The same for all that is cut at one go: it is read once.
        kind = row.densities[(first_kind + k // plan.visit) % len(row.densities)]
        yield PatchSpec(visit.row, (z, y, x), kind, int(turns[k]), bool(mirrored[k]), int(seeds[k]))


def _centres(cells: Cells, count: int, plan: EpochPlan, rng: np.random.Generator) -> Array:
    """Draw different voxels from the cells, and move the last of them off."""
    voxels = cells.side**3
    total = len(cells.corners) * voxels
    drawn = rng.choice(total, size=min(total, 2 * count + 64), replace=False)
    corner, inside = cells.corners[drawn // voxels], np.unravel_index(drawn % voxels, (cells.side,) * 3)
    # A cell may reach beyond the far faces of the map.
    centres = np.minimum(corner + np.stack(inside, axis=1), np.array(cells.shape) - 1)
    centres = _different(centres)[:count]
    moved = centres.copy()
    off = len(centres) - round(plan.near * len(centres))
    moved[off:] += rng.integers(-int(plan.shift), int(plan.shift) + 1, size=moved[off:].shape)
    moved = np.clip(moved, 0, np.array(cells.shape) - 1)
    # Whatever came to lie on another patch stays where it was; its place was its own.
    taken = {tuple(place) for place in centres}
    for k in range(off, len(centres)):
        place = tuple(moved[k])
        if place not in taken:
            taken.add(place)
            centres[k] = moved[k]
    # Neighbours are cut one after the other, so that a visit reads few chunks of a large map; batches are mixed later.
    order = np.lexsort((*centres.T, *(centres // _NEIGHBOURHOOD).T))
    return np.asarray(centres[order])


def _cubes(cells: Cells, count: int, turns: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw cubes of a lattice, each in as many of its orientations as it takes."""
    total = len(cells.corners) * turns
    drawn = rng.choice(total, size=min(count, total), replace=False)
    return cells.corners[drawn // turns] + cells.side // 2, drawn % turns


def _different(centres: Array) -> Array:
    return centres[np.sort(np.unique(centres, axis=0, return_index=True)[1])]
