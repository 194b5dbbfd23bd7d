"""What no one-map method can measure is refused; what is only unusual is measured."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from emres.errors import EmresError, MapError
from emres.estimators.monores import monores, monores_halves
from emres.estimators.one_map import scaled
from emres.estimators.resmap import resmap


def single(volume, mask, voxel_size=1.0):
    return monores(volume, voxel_size, mask)


def halves(volume, mask, voxel_size=1.0):
    noise = np.random.default_rng(4).normal(size=volume.shape) * np.nan_to_num(np.abs(volume).max(), posinf=1.0) * 1e-2
    return monores_halves(volume + noise, volume - noise, voxel_size, mask)


def windows(volume, mask, voxel_size=1.0):
    return resmap(volume, voxel_size, mask, finest=2.2 * voxel_size, coarsest=6.0 * voxel_size)


each_method = pytest.mark.parametrize("estimate", [single, halves, windows])


def ball_in(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a ball of random detail in weak noise, and its mask, in a box of any edges."""
    middle = [(np.arange(n) - (n - 1) / 2) / n for n in shape]
    inside = middle[0][:, None, None] ** 2 + middle[1][None, :, None] ** 2 + middle[2] ** 2 < 0.3**2
    random = np.random.default_rng(1)
    detail = random.normal(size=shape).cumsum(0)
    return (inside * detail + 0.3 * random.normal(size=shape)).astype(np.float32), inside


@each_method
@pytest.mark.parametrize("value", [0.0, 3.0, -1e30])
def test_a_constant_map_is_refused(estimate, value):
    _, mask = ball_in((24, 24, 24))
    volume = np.full((24, 24, 24), value, np.float32)
    with pytest.raises(MapError, match="one value everywhere"):
        monores_halves(volume, volume, 1.0, mask) if estimate is halves else estimate(volume, mask)


@each_method
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(estimate, value):
    volume, mask = ball_in((24, 24, 24))
    volume[3, 3, 3] = value
    with pytest.raises(MapError, match="NaN or infinity"):
        estimate(volume, mask)


@each_method
@pytest.mark.parametrize("edge", [1, 2, 3])
def test_a_speck_is_refused(estimate, edge):
    volume = np.random.default_rng(0).normal(size=(edge, 24, 24)).astype(np.float32)
    with pytest.raises(EmresError, match="too small"):
        estimate(volume, np.ones(volume.shape))


@each_method
@pytest.mark.parametrize("gain", [1e-40, 1e-30, 1e30])
def test_values_whose_squares_overflow_are_measured_all_the_same(estimate, gain):
    volume, mask = ball_in((40, 40, 40))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain, odd = estimate(volume, mask).resolution, estimate(volume * gain, mask).resolution
    assert 0 < np.median(plain[mask]) < 10
    assert np.isclose(plain, odd, atol=2e-2)[mask].mean() > (0.97 if gain < 1e-38 else 0.999)  # few bits are left


@each_method
@pytest.mark.parametrize("shape", [(32, 24, 40), (20, 45, 25), (27, 27, 27)])
def test_boxes_of_any_edges_are_measured(estimate, shape):
    volume, mask = ball_in(shape)
    found = estimate(volume, mask)
    assert np.isfinite(found.resolution).all()
    assert (found.resolution[~mask] == 0).all()
    assert found.resolution[mask].max() > 0


@each_method
@pytest.mark.parametrize("voxel_size", [0.3, 8.0])
def test_small_and_large_voxels_are_measured_between_nyquist_and_the_end_of_the_sweep(estimate, voxel_size):
    volume, mask = ball_in((40, 40, 40))
    found = estimate(volume, mask, voxel_size).resolution
    values = found[mask & (found > 0) & (found < 100)]
    assert len(values) > 0.3 * mask.sum()
    assert values.min() >= 2 * voxel_size - 1e-3
    assert values.max() <= max(15.5, 6.5 * voxel_size)


@pytest.mark.parametrize("estimate", [single, halves])
def test_sixteen_voxels_are_enough_for_monores(estimate):
    volume, mask = ball_in((16, 16, 16))
    assert np.median(estimate(volume, mask).resolution[mask]) < 5


def test_sixteen_voxels_are_too_few_for_resmap():
    with pytest.raises(EmresError, match="too small for ResMap"):
        windows(*ball_in((16, 16, 16)))


@pytest.mark.parametrize("estimate", [halves, windows])
@pytest.mark.parametrize("voxels", [1, 3])
def test_a_mask_of_a_few_voxels_gives_these_a_value(estimate, voxels):
    volume, _ = ball_in((40, 40, 40))
    mask = np.zeros(volume.shape, bool)
    mask[20, 20, 20 : 20 + voxels] = True
    assert ((estimate(volume, mask).resolution > 0) == mask).all()


def test_a_mask_beside_the_molecule_is_refused():
    volume, mask = ball_in((40, 40, 40))
    with pytest.raises(EmresError, match="rises above the solvent"):
        single(volume, np.roll(mask, 20, axis=0) & ~mask)


def test_a_power_of_two_is_taken_off_without_rounding():
    volume = torch.tensor([[[1.1e30, -3.3e29]]])
    assert torch.equal(scaled(volume, 100) * 2.0**100, volume)
    assert scaled(volume, 3) is volume
