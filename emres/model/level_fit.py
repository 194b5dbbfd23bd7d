"""How a reader of levels learns: from whole maps, before a net sees any patch; of one number a map, in a minute."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from emres.model.augment import Augmentation
from emres.model.condition import STRIPPED, TOLD
from emres.model.level import LevelReader
from emres.model.patch_source import MapFacts
from emres.model.told import told_condition
from emres.volume.threads import torch_threads

Array = np.ndarray[Any, Any]
TellStep = Callable[[int, int, float, float], None]

_BATCH = 64
_ALIEN = 0.15  # share of the told examples whose map tells of another level than it has
_TELL_EVERY = 50  # steps
_RATE, _WARM_UP, _DECAY, _BETA = 6e-3, 0.3, 0.01, 0.1


def silent(step: int, steps: int, loss: float, rate: float) -> None:
    """Tell nobody of a step."""


@dataclass(frozen=True)
class WholeMap:
    """A map whose level is known.

    Parameters
    ----------
    entry, density : str
        Whose it is, and which of the entry's.
    facts : MapFacts
    reported : float, optional
        Å.
    finest : float
        Resolution, Å, beyond which nothing is sharpened.
    resolution : float
        Å, the median of its target.
    key : str
        Of its facts.
    valid : (float, float)
        Å: a target at or beyond either was capped.
    part : int
        Of the maps: whole families lie in one part.
    variants : int
        How many are learnt from: sharpened, masked, told and untold.
    """

    entry: str
    density: str
    facts: MapFacts
    reported: float | None
    finest: float
    resolution: float
    key: str = ""
    valid: tuple[float, float] = (0.0, math.inf)
    part: int = 0
    variants: int = 8

    @property
    def level(self) -> float:
        """Natural logarithm of the resolution in voxels."""
        return math.log(self.resolution / self.facts.spectra.voxel_size)

    def told(self, varied: Augmentation, seed: int) -> Array:
        """Return what a net is told of it, (LENGTH,), after what is done to it."""
        return told_condition(self.facts, self.reported, self.finest, varied, seed)


def level_examples(maps: Sequence[WholeMap], varied: Augmentation, seed: int) -> tuple[Array, Array]:
    """Return what a net may be told of some maps.

    Parameters
    ----------
    maps : sequence of WholeMap
    varied : Augmentation
        What may be done to a map.
    seed : int

    Returns
    -------
    (m, LENGTH) float32, (m,) int
        Conditions, as many as the maps have variants, and the place of the map of each.
    """
    of = np.repeat(np.arange(len(maps)), [one.variants for one in maps])
    seeds = np.random.default_rng([seed, 1]).integers(2**62, size=len(of))
    return np.stack([maps[int(k)].told(varied, int(seed)) for k, seed in zip(of, seeds, strict=True)]), of


def fit_levels(
    reader: LevelReader, conditions: Array, levels: Array, steps: int, seed: int, tell: TellStep = silent
) -> None:
    """Teach a reader; to others that learn, its weights are given.

    Parameters
    ----------
    reader : LevelReader
    conditions : (n, LENGTH) float32
    levels : (n,) float
        log(median local resolution / voxel size) of their maps.
    steps : int
        Each sees 64 of them.
    seed : int
    tell : callable
        As for :func:`descend`.
    """
    told, truth = torch.from_numpy(conditions), torch.from_numpy(levels.astype(np.float32))
    try:
        with torch_threads(1):  # the same sums in every process, and small ones
            torch.manual_seed(seed)
            _fit(reader.train().requires_grad_(), told, truth, steps, tell)
    finally:
        reader.requires_grad_(False)


def alienated(told: torch.Tensor) -> torch.Tensor:
    """Return conditions, of which some that are told keep that alone: all else is that of another map.

    Real maps differ from simulated ones in ways that nobody simulated. Where what a map shows and what its authors
    report are farther apart than simulated maps ever have them, the report is right more often.
    """
    other = told[torch.randperm(len(told))]
    alien = (torch.rand(len(told), 1) < _ALIEN) & (told[:, TOLD + 1 : STRIPPED] > 0)
    place = torch.arange(told.shape[1])
    kept = (place >= TOLD) & (place < STRIPPED)
    return torch.where(alien & ~kept, other, told)


def descend(
    reader: nn.Module, steps: int, read: Callable[[], tuple[torch.Tensor, torch.Tensor]], tell: TellStep
) -> None:
    """Take a reader's steps down to what is true.

    Parameters
    ----------
    reader : torch.nn.Module
        That learns.
    steps : int
    read : callable
        Returns, of examples drawn anew, what every member reads and what is true: NaN where nobody knows.
    tell : callable
        Told the number of a step, of all steps, the loss and the rate.
    """
    optimizer = torch.optim.AdamW(reader.parameters(), weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, max(steps, 2), pct_start=_WARM_UP)
    for step in range(1, steps + 1):
        each, truth = read()
        known = torch.isfinite(truth)
        loss = nn.functional.smooth_l1_loss(each[:, known], truth[known].expand(len(each), -1), beta=_BETA)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if not step % _TELL_EVERY or step == steps:
            tell(step, steps, float(loss.detach()), float(schedule.get_last_lr()[0]))


def _fit(reader: LevelReader, told: torch.Tensor, truth: torch.Tensor, steps: int, tell: TellStep) -> None:
    def read() -> tuple[torch.Tensor, torch.Tensor]:
        chosen = torch.randint(len(truth), (_BATCH,))
        return reader.each(alienated(told[chosen])), truth[chosen]

    descend(reader, steps, read, tell)
