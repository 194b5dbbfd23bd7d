"""Only what lies in the molecule counts, every patch alike; a spread learns from the error and leaves it alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from emres.model.contract import ANGSTROM
from emres.model.loader import Batch
from emres.model.losses import angstrom_of, ask, in_mask_loss, truth_of
from tests.model.conftest import contract


def batch(target: torch.Tensor, weight: torch.Tensor, voxel_size: float = 1.5) -> Batch:
    count = len(target)
    sizes = torch.full((count,), voxel_size)
    empty = torch.zeros_like(target)
    return Batch(empty, target, weight, sizes, torch.arange(count), torch.zeros(count, 3), empty)


def test_loss_knows_nothing_outside_the_mask() -> None:
    truth, weight = torch.zeros(2, 1, 4, 4, 4), torch.zeros(2, 1, 4, 4, 4)
    weight[:, :, :2] = 1
    wrong_outside = truth.clone()
    wrong_outside[:, :, 2:] = 100
    assert in_mask_loss(wrong_outside, truth, weight).item() == 0
    assert in_mask_loss(truth + 1, truth, weight).item() == pytest.approx(0.95)


def test_patches_count_alike_whatever_their_mask() -> None:
    truth, weight = torch.zeros(2, 1, 4, 4, 4), torch.ones(2, 1, 4, 4, 4)
    weight[1, :, 1:] = 0
    answer = torch.zeros_like(truth)
    answer[1] = 1
    assert in_mask_loss(answer, truth, weight).item() == pytest.approx(0.95 / 2)


def test_a_batch_without_any_mask_is_harmless() -> None:
    nothing = torch.zeros(1, 2, 4, 4, 4, requires_grad=True)
    loss = in_mask_loss(nothing + 1, torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4))
    loss.backward()
    assert loss.item() == 0
    assert nothing.grad is not None
    assert not nothing.grad.any()


def test_a_spread_is_told_of_the_error_and_does_not_change_it() -> None:
    truth, weight = torch.zeros(1, 1, 4, 4, 4), torch.ones(1, 1, 4, 4, 4)
    said = torch.full((1, 1, 4, 4, 4), 0.3, requires_grad=True)
    spread = torch.full((1, 1, 4, 4, 4), math.log(0.3), requires_grad=True)
    alone = torch.autograd.grad(in_mask_loss(said, truth, weight), said)[0]
    both = torch.autograd.grad(in_mask_loss(torch.cat([said, spread], 1), truth, weight), (said, spread))
    torch.testing.assert_close(both[0], alone)
    assert both[1].abs().max() < 1e-8  # a spread as large as the error is where it is best
    with torch.no_grad():
        best, larger, smaller = (
            in_mask_loss(torch.cat([said, spread + off], 1), truth, weight) for off in (0, 0.5, -0.5)
        )
    assert best < min(larger, smaller)


def test_truth_is_in_voxels_of_the_grid_or_in_angstrom() -> None:
    target = torch.tensor([3.0, 0.0]).view(2, 1, 1, 1, 1)
    given = batch(target, (target > 0).float())
    voxels = truth_of(given, contract())
    assert voxels[0].item() == pytest.approx(math.log(2))
    assert voxels.isfinite().all()  # where nothing counts, too
    assert truth_of(given, contract(output=ANGSTROM))[0].item() == 3.0
    assert angstrom_of(voxels, given, contract())[0].item() == pytest.approx(3.0)
    far = angstrom_of(torch.full_like(target, 9.0), given, contract(valid_range=(2.0, 12.0)))
    assert far[0].item() == pytest.approx(12 * 1.5)  # as a prediction is cut off


def test_only_a_conditioned_net_is_told_of_the_map() -> None:
    class Told(nn.Module):
        conditioned = True

        def forward(self, density: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
            return condition

    given = batch(torch.ones(2, 1, 4, 4, 4), torch.ones(2, 1, 4, 4, 4))
    assert ask(Told(), given).shape == (2, 3)
    assert ask(nn.Identity(), given).shape == (2, 1, 4, 4, 4)
