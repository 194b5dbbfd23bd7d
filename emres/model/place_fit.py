"""How a reader of places learns: from some places of every map, before a net sees any patch; in some minutes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from emres.model.level_fit import alienated
from emres.model.place import PlaceReader

Array = np.ndarray[Any, Any]

PLACES = 64  # of a map, at most, that are learnt from
_MAPS, _OF_EACH = 32, 16  # in a step
_RATE, _WARM_UP, _DECAY, _BETA = 6e-3, 0.3, 0.01, 0.1


@dataclass(frozen=True)
class PlaceExamples:
    """Places of a map whose level is known.

    Parameters
    ----------
    curves : (n, 2, 44) float16
        As :class:`emres.volume.place_curves.PlaceCurves` has them.
    levels : (n,) float32
        log(local resolution / voxel size).
    """

    curves: Array
    levels: Array


def fit_places(
    reader: PlaceReader,
    examples: Sequence[PlaceExamples],
    conditions: Array,
    of: Array,
    steps: int,
    seed: int,
) -> None:
    """Teach a reader; to others that learn, its weights are given.

    Parameters
    ----------
    reader : PlaceReader
    examples : sequence of PlaceExamples
        One a map, with at least one place.
    conditions : (m, LENGTH) float32
        What it may be told of the maps.
    of : (m,) int
        The map of each.
    steps : int
        Each sees 16 places of 32 maps.
    seed : int
    """
    torch.manual_seed(seed)
    rng, told = np.random.default_rng([seed, 2]), torch.from_numpy(conditions)
    optimizer = torch.optim.AdamW(reader.train().requires_grad_().parameters(), weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, max(steps, 2), pct_start=_WARM_UP)
    for _ in range(steps):
        chosen = rng.integers(len(of), size=_MAPS)
        curves, levels = _drawn([examples[of[k]] for k in chosen], rng)
        each = reader.each(alienated(told[torch.from_numpy(chosen)]), curves)
        loss = nn.functional.smooth_l1_loss(each, levels.expand_as(each), beta=_BETA)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    reader.requires_grad_(False)


def _drawn(maps: Sequence[PlaceExamples], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return curves, (maps, 16, 2, 44), and levels, (maps, 16), of places drawn at random."""
    places = [rng.integers(len(one.levels), size=_OF_EACH) for one in maps]
    curves = np.stack([one.curves[some] for one, some in zip(maps, places, strict=True)])
    levels = np.stack([one.levels[some] for one, some in zip(maps, places, strict=True)])
    return torch.from_numpy(curves.astype(np.float32)), torch.from_numpy(levels)
