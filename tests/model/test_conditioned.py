"""The conditioned net is block-exact, says two things a voxel, and heeds what it is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emres.errors import UsageError
from emres.model.condition import LENGTH, STRIPPED
from emres.model.conditioned import ConditionedUNet
from emres.volume.blocks import plan_blocks

MARGINS = ((4, 0), (0, 0), (0, 0))


@pytest.fixture
def net() -> ConditionedUNet:
    """A net with random weights and random running statistics: nothing in it is a neutral value."""
    torch.manual_seed(7)
    net = ConditionedUNet(channels=8, deep_channels=12, deep_layers=3, bands=4)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    torch.nn.init.normal_(net.film.films.weight, std=0.1)
    return net.eval()


def told(maps: int, seed: int = 5) -> torch.Tensor:
    """What a net may be told of some maps, of which none is stripped."""
    numbers = torch.randn(maps, LENGTH + 1, generator=torch.Generator().manual_seed(seed))
    numbers[:, STRIPPED] = 0
    return numbers


@pytest.fixture
def condition() -> torch.Tensor:
    return told(1)


def answer(net: ConditionedUNet, density: np.ndarray, condition: torch.Tensor) -> np.ndarray:
    padded = np.pad(density, [(0, -side % 4) for side in density.shape])
    values = torch.from_numpy(padded)[None, None]
    with torch.inference_mode():
        result = net(values, condition=condition, pattern=0.1 * values)[0].numpy()
    return result[(slice(None), *(slice(side) for side in density.shape))]


def test_receptive_radius_is_exact(net: ConditionedUNet, condition: torch.Tensor) -> None:
    """No voxel depends on anything beyond the radius, and some voxel of a cell of 4 does reach it."""
    reaches = []
    for voxel in range(32, 36):
        density = torch.randn(1, 1, 72, 72, 72, requires_grad=True)
        net(density, condition=condition, pattern=density)[0, 0, voxel, voxel, voxel].backward()
        assert density.grad is not None
        reaches.append(np.abs(np.argwhere(density.grad[0, 0].numpy() != 0) - voxel).max())
    assert max(reaches) == net.receptive_radius


def test_blockwise_equals_whole(net: ConditionedUNet, condition: torch.Tensor, density: np.ndarray) -> None:
    whole = answer(net, density, condition)
    for block in plan_blocks(density.shape, core=48, halo=28, multiple=4):
        part = answer(net, density[block.read.slices], condition)
        np.testing.assert_allclose(
            part[(slice(None), *block.core.slices)], whole[(slice(None), *block.write.slices)], atol=1e-5
        )


@pytest.mark.parametrize("margins", [((28, 28), (28, 28), (28, 28)), ((0, 28), (28, 0), (32, 40))])
def test_margins_change_what_is_computed_and_not_what_is_answered(net, condition, margins) -> None:
    density = torch.randn(1, 1, 76, 80, 88)
    where = tuple(slice(a, n - b) for (a, b), n in zip(margins, density.shape[2:], strict=True))
    with torch.inference_mode():
        whole, part = net(density, condition=condition, pattern=-density), net(density, margins, condition, -density)
    torch.testing.assert_close(part, whole[(slice(None), slice(None), *where)], rtol=1e-4, atol=1e-5)


def test_folding_the_normalisation_changes_nothing(
    net: ConditionedUNet, condition: torch.Tensor, density: np.ndarray
) -> None:
    part = density[:40, :40, :40]
    before = answer(net, part, condition)
    after = answer(net.folded(), part, condition)
    assert not any(isinstance(module, torch.nn.BatchNorm3d) for module in net.modules())
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_every_map_of_a_batch_heeds_its_own_condition(net: ConditionedUNet) -> None:
    density, conditions = torch.randn(1, 1, 16, 16, 16), told(2)
    both = net(density.expand(2, -1, -1, -1, -1), condition=conditions)
    for k in range(2):
        torch.testing.assert_close(both[k : k + 1], net(density, condition=conditions[k : k + 1]), atol=1e-5, rtol=1e-4)
    assert (both[0] - both[1]).abs().min() > 0


def test_an_answer_begins_at_the_level_and_follows_the_pattern() -> None:
    net = ConditionedUNet(channels=4, deep_channels=4, deep_layers=1, bands=2).eval()
    torch.nn.init.zeros_(net.head.weight)
    torch.nn.init.zeros_(net.head.bias)
    density, pattern, numbers = torch.randn(2, 1, 8, 8, 8), 0.1 * torch.randn(2, 1, 8, 8, 8), told(2)
    found = net(density, condition=numbers, pattern=pattern)[:, :1]
    torch.testing.assert_close(found, numbers[:, LENGTH].view(2, 1, 1, 1, 1) + pattern)


@pytest.mark.parametrize("kinds", [2, 3])
def test_weights_of_before_some_kinds_of_maps_had_a_surety_of_their_own_are_taken_in(
    net: ConditionedUNet, kinds: int
) -> None:
    rows = [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]][:kinds]
    net.load_state_dict({**net.state_dict(), "film.surety": torch.tensor(rows)})
    assert torch.equal(net.film.surety[:3], torch.tensor([rows[0], rows[1], rows[-1]]))
    # Of stripped maps it is all of the logarithm of the spread.
    torch.testing.assert_close(net.film.surety[3], torch.tensor(rows[-1]) + np.log(0.15), check_dtype=False)


def test_in_weights_of_before_stripped_maps_had_readers_the_usual_ones_read_them(net: ConditionedUNet) -> None:
    older = {name: values for name, values in net.state_dict().items() if not name.startswith("film.stripped.")}
    for name in list(older):
        if name.startswith(("film.level.", "film.places.")):
            older[name] = torch.full_like(older[name], 0.25)
    net.load_state_dict(older)
    assert all((values == 0.25).all() for values in net.film.stripped.state_dict().values())


def test_of_stripped_maps_what_was_read_is_the_answer(net: ConditionedUNet) -> None:
    density, pattern = torch.randn(2, 1, 16, 16, 16), 0.1 * torch.randn(2, 1, 16, 16, 16)
    numbers = told(2)
    numbers[0, STRIPPED] = 1
    net.film.surety[3] = -1.5
    both = net(density, MARGINS, numbers, pattern)
    alone = [net(density[k : k + 1], MARGINS, numbers[k : k + 1], pattern[k : k + 1]) for k in (0, 1)]
    torch.testing.assert_close(both, torch.cat(alone), atol=1e-5, rtol=1e-4)
    read = numbers[:, LENGTH].view(2, 1, 1, 1, 1) + pattern[:, :, 4:]
    torch.testing.assert_close(both[:1, :1], read[:1])
    assert (both[:1, 1] == -1.5).all()
    assert (both[1:, :1] - read[1:]).abs().max() > 1e-3


def test_a_batch_of_stripped_maps_can_be_learnt_from(net: ConditionedUNet) -> None:
    """Of which nothing is learnt."""
    numbers = told(2)
    numbers[:, STRIPPED] = 1
    learning = ConditionedUNet(channels=4, deep_channels=4, deep_layers=1, bands=2).train()
    learning(torch.randn(2, 1, 8, 8, 8), condition=numbers).sum().backward()
    assert learning.head.weight.grad is not None
    assert not learning.head.weight.grad.any()


def test_stripped_maps_have_readers_of_their_own(net: ConditionedUNet) -> None:
    usual, stripped = (net.film.readers(which).places for which in (False, True))
    assert not torch.equal(usual.members[0].first.weight, stripped.members[0].first.weight)
    net.film.stripped.follow(net.film)
    assert torch.equal(usual.members[0].first.weight, stripped.members[0].first.weight)


def test_the_default_is_small_enough_to_ship() -> None:
    net = ConditionedUNet()
    assert net.flops_per_voxel <= 60_000
    assert 4 * sum(weight.numel() for weight in net.parameters()) < 8_000_000


def test_a_net_that_is_told_nothing_refuses(net: ConditionedUNet) -> None:
    with pytest.raises(UsageError, match="whole map"):
        net(torch.zeros(1, 1, 8, 8, 8))
    with pytest.raises(UsageError, match="multiples of 4"):
        net(torch.zeros(1, 1, 8, 8, 10), condition=torch.zeros(1, LENGTH + 1))
