"""What a local FSC must do whoever defines it: physics, not programs."""

from __future__ import annotations

import numpy as np
import pytest

from emres.errors import MapError, UsageError
from emres.estimators.fsc import dense_fsc
from emres.estimators.fsc_blocres import blocres_fsc
from emres.estimators.fsc_relion import relion_fsc
from tests.estimators.conftest import low_passed

DEFINITIONS = {
    "dense": lambda a, b: dense_fsc(a, b, 1.0),
    "relion": lambda a, b: relion_fsc(a, b, 1.0, sampling=12.0),
    "blocres": lambda a, b: blocres_fsc(a, b, 1.0, box_size=16, step=4),
}
each_definition = pytest.mark.parametrize("estimate", DEFINITIONS.values(), ids=DEFINITIONS)


def noise(seed: int, n: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, n, n)).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_white_noise_in_both_halves_is_capped_at_the_worst_everywhere(seed):
    estimate = dense_fsc(noise(2 * seed), noise(2 * seed + 1), 1.0)
    assert (estimate.resolution == np.float32(estimate.window)).all()
    assert estimate.unresolved_share == estimate.capped_share == 1.0


@each_definition
def test_identical_halves_give_two_voxels(estimate):
    found = estimate(noise(1), noise(1)).resolution
    np.testing.assert_allclose(found[found > 0], 2.0, rtol=1e-5)


def test_two_plateaus_are_found_to_a_shell_and_a_half():
    n, fine, coarse = 128, 4.0, 8.0
    white = noise(7, n)
    left = 1 / (1 + np.exp((np.arange(n) - n / 2) / 2))
    signal = low_passed(white, fine) * left + low_passed(white, coarse) * (1 - left)
    estimate = dense_fsc(signal + 0.5 * noise(8, n), signal + 0.5 * noise(9, n), 1.0)
    profile = np.median(estimate.resolution[12:-12, 12:-12], axis=(0, 1))
    tolerance = 1.5 / estimate.window
    assert 1 / profile[32] == pytest.approx(1 / fine, abs=tolerance)
    assert 1 / profile[96] == pytest.approx(1 / coarse, abs=tolerance)


@each_definition
def test_half_maps_swapped_give_the_same(estimate, ball):
    there, back = estimate(ball.first, ball.second), estimate(ball.second, ball.first)
    if there.definition == "relion":  # its random phases follow the order of the halves: a shell here or there
        assert np.abs(there.resolution - back.resolution).mean() < 0.3
    else:
        np.testing.assert_allclose(there.resolution, back.resolution, atol=2e-3)


@each_definition
@pytest.mark.parametrize("factor", [1e-4, 3e3])
def test_scaling_the_maps_changes_nothing(estimate, factor, ball):
    plain = estimate(ball.first, ball.second).resolution
    scaled = estimate(ball.first * np.float32(factor), ball.second * np.float32(factor)).resolution
    np.testing.assert_allclose(scaled, plain, atol=2e-3)


@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (0, 2)])
def test_a_quarter_turn_of_the_map_turns_the_answer(axes, ball):
    plain = dense_fsc(ball.first, ball.second, 1.0).resolution
    turned = dense_fsc(np.rot90(ball.first, axes=axes), np.rot90(ball.second, axes=axes), 1.0).resolution
    np.testing.assert_allclose(turned, np.rot90(plain, axes=axes), atol=2e-3)


def test_a_shift_of_the_map_shifts_the_answer(ball):
    shift = (3, -2, 5)
    plain = dense_fsc(ball.first, ball.second, 1.0).resolution
    moved = dense_fsc(*(np.roll(half, shift, (0, 1, 2)) for half in (ball.first, ball.second)), 1.0).resolution
    middle = (slice(20, 28),) * 3
    np.testing.assert_allclose(moved[middle], np.roll(plain, shift, (0, 1, 2))[middle], rtol=0.02)


def test_a_box_that_is_no_cube_gives_relions_answer_on_the_padded_cube(ball):
    flat = (slice(6, 42), slice(0, 48), slice(4, 44))
    cubes = []
    for half in (ball.first, ball.second):
        cube = np.zeros((48, 48, 48), np.float32)
        cube[flat] = half[flat]
        cubes.append(cube)
    inside = relion_fsc(ball.first[flat], ball.second[flat], 1.0, sampling=12.0).resolution
    np.testing.assert_array_equal(inside, relion_fsc(*cubes, 1.0, sampling=12.0).resolution[flat])


def test_a_higher_threshold_is_never_finer(ball):
    low, high = (dense_fsc(ball.first, ball.second, 1.0, threshold=value).resolution for value in (0.143, 0.5))
    assert (high >= low - 1e-4).all()


def test_blocres_computes_every_step_th_voxel_of_the_mask_that_a_box_fits_round(ball):
    found = blocres_fsc(ball.first, ball.second, 1.0, mask=ball.mask, box_size=16, step=3).resolution
    index = np.argwhere(found > 0)
    assert len(index)
    assert not (index % 3).any()
    assert index.min() >= 8
    assert index.max() <= 40
    assert (ball.mask[found > 0] > 0.5).all()


def test_the_voxel_size_scales_the_answer(ball):
    once = relion_fsc(ball.first, ball.second, 1.0, sampling=12.0, randomise_at=25.0).resolution
    twice = relion_fsc(ball.first, ball.second, 2.0, sampling=24.0, randomise_at=50.0, coarsest=100.0).resolution
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-5)


@each_definition
def test_halves_of_different_shape_are_refused(estimate, ball):
    with pytest.raises(UsageError, match="differ in shape"):
        estimate(ball.first, ball.second[1:])


@each_definition
def test_nan_is_refused(estimate, ball):
    broken = ball.first.copy()
    broken[3, 4, 5] = np.nan
    with pytest.raises(MapError, match="NaN"):
        estimate(broken, ball.second)


@pytest.mark.parametrize(("setting", "what"), [({"threshold": 1.5}, "threshold"), ({"window": 3.0}, "window")])
def test_settings_out_of_range_are_refused(setting, what, ball):
    with pytest.raises(UsageError, match=what):
        dense_fsc(ball.first, ball.second, 1.0, **setting)
