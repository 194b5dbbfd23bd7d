"""How a reader of places learns: from some places of every map, before a net sees any patch; in some minutes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from emres.model.level_fit import TellStep, alienated, descend, silent
from emres.model.place import PlaceReader

Array = np.ndarray[Any, Any]

PLACES = 64  # of a map, at most, that are learnt from
_MAPS, _OF_EACH = 32, 16  # in a step


@dataclass(frozen=True)
class PlaceExamples:
    """Places of a molecule, some of whose levels are known.

    Parameters
    ----------
    curves : (n, 2, 44) float16
        As :class:`emres.volume.place_curves.PlaceCurves` has them.
    levels : (n,) float32
        log(local resolution / voxel size), NaN where there is no target.
    part : int
        Of the maps: the member of a reader of the same number, counted round, does not learn from it.
    """

    curves: Array
    levels: Array
    part: int | None = None


def fit_places(
    reader: PlaceReader,
    examples: Sequence[PlaceExamples | None],
    conditions: Array,
    of: Array,
    steps: int,
    seed: int,
    tell: TellStep = silent,
) -> None:
    """Teach the members of a reader, one after the other; to others that learn, their weights are given.

    Parameters
    ----------
    reader : PlaceReader
    examples : sequence of PlaceExamples
        One a map; nothing is learnt from a map that has none, and some have.
    conditions : (m, LENGTH) float32
        What it may be told of the maps.
    of : (m,) int
        The map of each.
    steps : int
        Each sees 16 places of 32 maps.
    seed : int
    tell : callable
        As for :func:`emres.model.level_fit.descend`.
    """
    torch.manual_seed(seed)
    reader.train()
    for k, member in enumerate(reader.members):
        chosen = _learnt_by(k, len(reader.members), examples)[of]
        read = _reading(reader, k, examples, conditions[chosen], of[chosen], np.random.default_rng([seed, 2, k]))
        descend(member.requires_grad_(), steps, read, tell)
    reader.requires_grad_(False)


def _learnt_by(member: int, members: int, examples: Sequence[PlaceExamples | None]) -> Array:
    """Return which maps a member learns from: all but its own part, unless nothing were left."""
    usable = np.array([one is not None for one in examples])
    own = np.array([one is not None and one.part is not None and one.part % members == member for one in examples])
    return usable & ~own if (usable & ~own).any() else usable


def _reading(
    reader: PlaceReader,
    member: int,
    examples: Sequence[PlaceExamples | None],
    conditions: Array,
    of: Array,
    rng: np.random.Generator,
) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
    """Return what draws examples and has a member read them."""
    told = torch.from_numpy(conditions)

    def read() -> tuple[torch.Tensor, torch.Tensor]:
        chosen = rng.integers(len(of), size=_MAPS)
        curves, levels = _drawn([one for k in chosen if (one := examples[of[k]]) is not None], rng)
        return reader.each(alienated(told[torch.from_numpy(chosen)]), curves, (member,)), levels

    return read


def _drawn(maps: Sequence[PlaceExamples], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return curves, (maps, 16, 2, 44), and levels, (maps, 16), of places drawn at random."""
    places = [rng.integers(len(one.levels), size=_OF_EACH) for one in maps]
    curves = np.stack([one.curves[some] for one, some in zip(maps, places, strict=True)])
    levels = np.stack([one.levels[some] for one, some in zip(maps, places, strict=True)])
    return torch.from_numpy(curves.astype(np.float32)), torch.from_numpy(levels)
