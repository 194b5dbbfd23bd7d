"""The loop learns, repeats itself, and counts only what lies in the mask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from emres.model.bundle import build_net
from emres.model.first_train import TrainingPlan, in_mask_loss, train
from emres.model.patches import Example, PatchPlan

SMALL = {"channels": 8, "deep_channels": 8, "deep_layers": 1}


def striped(wavelength: float, seed: int) -> Example:
    """Waves of one length; the coarser the wave, the coarser the answer."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices((24, 24, 24))
    density = np.sin(2 * np.pi * z / wavelength) + np.sin(2 * np.pi * (x + y) / wavelength)
    density = (density + 0.1 * rng.normal(size=density.shape))[None].astype(np.float16)
    target = np.full((24, 24, 24), np.log(wavelength), dtype=np.float16)
    return Example(f"stripes-{wavelength}", "1", 1.5, density, target, np.ones((24, 24, 24), dtype=bool))


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return [striped(wavelength, seed) for seed, wavelength in enumerate((2.6, 4.0, 6.0, 9.0))]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On volumes this small, threads cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def fresh() -> torch.nn.Module:
    torch.manual_seed(1)
    return build_net("compact_unet", SMALL)


PLAN = TrainingPlan(steps=40, batch=4, patch=PatchPlan(side=16, margin=2), learning_rate=2e-2, averaging=0.9)


def test_training_lowers_the_loss_and_the_average_ranks_the_waves(examples: list[Example]) -> None:
    net, losses = train(fresh(), examples, PLAN)
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert not net.training
    with torch.inference_mode():
        answers = [float(net(torch.from_numpy(e.densities.astype(np.float32))[:, None]).median()) for e in examples]
    assert answers == sorted(answers)


def test_same_seed_same_weights(examples: list[Example]) -> None:
    short = TrainingPlan(steps=3, batch=2, patch=PLAN.patch)
    (first, losses), (second, again) = (train(fresh(), examples, short) for _ in range(2))
    assert losses == again
    for one, two in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_every_step_is_reported(examples: list[Example]) -> None:
    told: list[tuple[int, float]] = []
    _, losses = train(fresh(), examples, TrainingPlan(steps=3, batch=2, patch=PLAN.patch), lambda *at: told.append(at))
    assert told == list(enumerate(losses))


def test_loss_knows_nothing_outside_the_mask() -> None:
    target, weight = torch.zeros(2, 1, 4, 4, 4), torch.zeros(2, 1, 4, 4, 4)
    weight[:, :, :2] = 1
    wrong_outside = target.clone()
    wrong_outside[:, :, 2:] = 100
    assert in_mask_loss(wrong_outside, target, weight).item() == 0
    assert in_mask_loss(target + 1, target, weight).item() == pytest.approx(0.95)


def test_patches_count_alike_whatever_their_mask() -> None:
    target, weight = torch.zeros(2, 1, 4, 4, 4), torch.ones(2, 1, 4, 4, 4)
    weight[1, :, 1:] = 0
    prediction = torch.zeros_like(target)
    prediction[1] = 1
    assert in_mask_loss(prediction, target, weight).item() == pytest.approx(0.95 / 2)


def test_a_batch_without_any_mask_is_harmless() -> None:
    nothing = torch.zeros(1, 1, 4, 4, 4)
    assert in_mask_loss(nothing + 1, nothing, nothing).item() == 0
