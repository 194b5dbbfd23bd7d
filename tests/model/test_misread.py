"""A net's spread of whole maps follows what their readers were off by, map by map, and nothing else of it moves."""

from __future__ import annotations

import math

import pytest
import torch

from emres.model.condition import KNOWN, LENGTH
from emres.model.conditioned import ConditionedUNet
from emres.model.misread import Misread

NAN = float("nan")


@pytest.fixture
def net() -> ConditionedUNet:
    torch.manual_seed(0)
    return ConditionedUNet(channels=4, deep_channels=4, deep_layers=1, bands=2).eval()  # nothing is dropped


def told(known: float) -> torch.Tensor:
    condition = torch.zeros(LENGTH + 1)
    condition[KNOWN] = known
    return condition


def cost(net: ConditionedUNet, misread: Misread, step: int = 0) -> float:
    return misread.loss(net, 3, step).item()


def spreads(net: ConditionedUNet, misread: Misread) -> list[float]:
    return net.film(misread.told)[0][:, 1].exp().flatten().tolist()


def test_each_kind_of_map_is_as_uncertain_as_its_readers_were_wrong(net: ConditionedUNet) -> None:
    errors = torch.tensor([[0.05, -0.05, 0.05, NAN], [0.4, 0.4, NAN, NAN]])
    misread = Misread(torch.stack([told(1.0), told(0.0)]), errors)
    learns = torch.optim.Adam(net.film.parameters(), 0.01)
    for step in range(300):
        learns.zero_grad()
        misread.loss(net, 0, step).backward()
        learns.step()
    assert spreads(net, misread) == pytest.approx([0.05, 0.4], rel=0.05)


def test_levels_are_not_what_it_moves(net: ConditionedUNet) -> None:
    misread = Misread(told(1.0)[None], torch.full((1, 3), 0.2))
    misread.loss(net, 0, 0).backward()
    assert net.film.films.bias.grad is not None
    moved = net.film.films.bias.grad.nonzero().flatten().tolist()
    assert moved == [0]  # the spread, of all that layers are told
    assert all(value.grad is None for value in net.film.places.parameters())


def test_places_that_are_not_known_cost_nothing(net: ConditionedUNet) -> None:
    known, both = torch.tensor([[0.1, 0.3]]), torch.tensor([[0.1, NAN, 0.3, NAN]])
    costs = [cost(net, Misread(told(1.0)[None], errors)) for errors in (known, both)]
    assert costs[0] == pytest.approx(costs[1])
    assert math.isfinite(costs[0])
    assert cost(net, Misread(told(1.0)[None], torch.full((1, 2), NAN))) == 0


def test_a_step_sees_the_same_maps_in_every_process_and_other_steps_others(net: ConditionedUNet) -> None:
    misread = Misread(torch.zeros(500, LENGTH + 1), torch.linspace(0, 1, 500)[:, None])
    first, again, other = (cost(net, misread, step) for step in (1, 1, 2))
    assert first == again
    assert first != other
