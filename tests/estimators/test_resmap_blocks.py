"""What is measured block by block is what the definition says of every window of the whole volume."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emres.errors import UsageError
from emres.estimators import resmap_blocks
from emres.estimators.resmap_blocks import gain_over_constant, noise_variance
from emres.estimators.resmap_kernels import local_model

SHAPE = (20, 23, 31)
MODEL = local_model(3.2, 1.0)


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=SHAPE).astype(np.float32))


def gain_of_each_window(volume: torch.Tensor) -> np.ndarray:
    """Cut every window out of the periodic volume and multiply it by every filter."""
    around = np.pad(volume.numpy().astype(np.float64), MODEL.radius, mode="wrap")
    windows = np.lib.stride_tricks.sliding_window_view(around, (MODEL.side,) * 3)
    return np.asarray((np.tensordot(windows, MODEL.filters, ([3, 4, 5], [1, 2, 3])) ** 2).sum(-1))


@pytest.mark.parametrize("block", [8, 64])
def test_the_gain_is_that_of_every_window_whatever_the_blocks(block, noise, monkeypatch):
    monkeypatch.setattr(resmap_blocks, "_BLOCK", block)
    monkeypatch.setattr(resmap_blocks, "_WINDOWS_A_BLOCK", 1)
    chosen = noise > 1.0
    found = gain_over_constant(noise, MODEL, chosen)
    np.testing.assert_allclose(found, gain_of_each_window(noise)[chosen.numpy()], rtol=1e-3, atol=1e-4)


def test_a_volume_smaller_than_a_window_goes_on_periodically():
    tiny = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 4, 2)).astype(np.float32))
    everywhere = torch.ones_like(tiny) > 0
    found = gain_over_constant(tiny, MODEL, everywhere)
    np.testing.assert_allclose(found, gain_of_each_window(tiny)[everywhere.numpy()], rtol=1e-3, atol=1e-4)


def test_the_variance_is_the_noises_and_a_constant_or_what_lies_elsewhere_changes_nothing(noise):
    region = torch.zeros(SHAPE, dtype=torch.bool)
    region[:, :, :20] = True
    elsewhere = torch.where(region, 3 * noise + 50.0, 1e4)
    expected = 9 * noise_variance(noise, [region], MODEL)
    assert noise_variance(elsewhere, [region], MODEL) == pytest.approx(expected, rel=1e-3)


def test_a_region_without_room_is_passed_over(noise):
    nowhere, region = torch.zeros(SHAPE, dtype=torch.bool), torch.ones(SHAPE, dtype=torch.bool)
    assert noise_variance(noise, [nowhere, region], MODEL) == noise_variance(noise, [region], MODEL)
    with pytest.raises(UsageError, match=f"0 windows of {MODEL.side}"):
        noise_variance(noise, [nowhere], MODEL)
