"""A net's uncertainty is what it is off by on maps that it never saw: for every kind of map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from emres.model.condition import KINDS_OF_NOISE, KNOWN, LENGTH, STRIPPED, TOLD, kinds_of
from emres.model.contract import WITH_SPREAD
from emres.model.loader import Batch
from emres.model.ranks import Ranks
from emres.model.validation import Validation
from emres.volume.spectrum import NYQUIST
from tests.model.conftest import contract

SIDE, MAPS = 8, 40
# Of the logarithm, by kind of map: what is known of its noise (nothing, what a filter left, all), whether it is told.
ERRORS = {(0, 0): 0.4, (0, 1): 0.2, (1, 0): 0.3, (1, 1): 0.15, (2, 0): 0.1, (2, 1): 0.05, (3, 0): 0.6, (3, 1): 0.35}


class Told(nn.Module):
    """Answers 4 voxels everywhere, sure to a tenth of it; its surety by kind is found."""

    conditioned = True

    def __init__(self) -> None:
        super().__init__()
        self.film = nn.Module()
        self.film.register_buffer("surety", torch.zeros(KINDS_OF_NOISE, 2))

    def forward(self, density: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        surety: Any = self.film.surety
        spread = np.log(0.1) + surety[kinds_of(condition)]
        level = torch.full_like(density, np.log(4.0))
        return torch.cat([level, spread.view(-1, 1, 1, 1, 1).expand_as(density)], 1)


def batch_of(kind: tuple[int, int], first_row: int) -> Batch:
    """Patches of maps of one kind, whose truth is off 4 voxels of 1.5 Å by as much as is usual for it."""
    generator = torch.Generator().manual_seed(first_row)
    shape = (MAPS, 1, SIDE, SIDE, SIDE)
    target = 6 * torch.exp(ERRORS[kind] * torch.randn(shape, generator=generator))
    condition = torch.zeros(MAPS, LENGTH + 1)
    condition[:, KNOWN], condition[:, TOLD + 1] = kind[0] > 0, kind[1]
    condition[:, STRIPPED] = kind[0] == 3
    condition[:, NYQUIST + 20 : KNOWN] = -2.0 if kind[0] == 1 else 0.0  # logarithms, a fourth of them
    size, row = torch.full((MAPS,), 1.5), torch.arange(first_row, first_row + MAPS)
    return Batch(torch.zeros(shape), target, torch.ones(shape), size, row, condition, torch.zeros(shape))


def validation(*kinds: tuple[int, int]) -> Validation:
    batches = [batch_of(kind, MAPS * k) for k, kind in enumerate(kinds)]
    return Validation(batches, MAPS * len(kinds), contract(output=WITH_SPREAD), Ranks())


def test_every_kind_of_map_is_calibrated_by_itself() -> None:
    net, looked = Told().eval(), validation(*ERRORS)
    assert looked.calibrate(net) == pytest.approx(1, abs=0.03)
    for kind, error in ERRORS.items():
        assert 0.1 * float(torch.exp(net.film.surety[kind])) == pytest.approx(error, rel=0.03)
        assert looked.spread_factor(net, kind) == pytest.approx(1, abs=0.02)


def test_a_kind_that_was_not_seen_is_as_sure_as_all_together() -> None:
    net, looked = Told().eval(), validation((1, 0))
    assert looked.spread_factor(net, (0, 1)) is None
    looked.calibrate(net)
    for kind in ERRORS:
        assert float(net.film.surety[kind]) == pytest.approx(float(net.film.surety[1, 0]), abs=1e-3)


class Adding(nn.Module):
    """Answers 4 voxels, and what its head adds to that."""

    conditioned = True

    def __init__(self, added: float) -> None:
        super().__init__()
        self.head = nn.Conv3d(1, 2, 1).requires_grad_(False)
        self.head.weight.zero_()
        self.head.bias.copy_(torch.tensor([added, -2.0]))

    def forward(self, density: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return np.log(4.0) * torch.tensor([1.0, 0.0]).view(1, 2, 1, 1, 1) + self.head(density)


@pytest.mark.parametrize(("added", "share"), [(np.log(1.5), 1.0), (2 * np.log(1.5), 0.5), (-0.3, 0.0)])
def test_a_net_adds_to_its_readers_as_much_as_is_best(added: float, share: float) -> None:
    """The truth is 6 Å, 4 voxels of 1.5 Å, about; here it is half as much again."""
    batch = batch_of((2, 1), 0)
    looked = Validation(
        [batch._replace(target=torch.full_like(batch.target, 9.0))], MAPS, contract(output=WITH_SPREAD), Ranks()
    )
    net = Adding(float(added)).eval()
    assert looked.temper(net) == share
    assert float(net.head.bias[0]) == pytest.approx(share * added)
    assert float(net.head.bias[1]) == -2.0


def test_nothing_to_look_at_calibrates_nothing() -> None:
    net = Told().eval()
    assert Validation([], 1, contract(output=WITH_SPREAD), Ranks()).calibrate(net) == 1
    assert net.film.surety.abs().max() == 0
