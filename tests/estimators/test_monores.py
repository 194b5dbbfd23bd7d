from __future__ import annotations

import numpy as np
import pytest

from emres.errors import UsageError
from emres.estimators.monores import monores, monores_halves
from emres.estimators.monores_sweep import Sweep
from emres.volume.fourier import as_tensor


def single(ball):
    return monores(ball.mean, ball.voxel_size, ball.mask)


def halves(ball):
    return monores_halves(ball.first, ball.second, ball.voxel_size, ball.mask)


both = pytest.mark.parametrize("estimate", [single, halves])


@both
def test_the_answer_lies_in_the_sweep_inside_the_mask_and_is_0_outside(estimate, ball):
    found = estimate(ball)
    values = found.resolution[ball.mask > 0.5]
    values = values[values > 0]
    assert (found.resolution[ball.mask <= 0.5] == 0).all()
    assert found.parameters["finest"] - 1e-3 <= values.min()
    assert values.max() <= found.parameters["coarsest"] + 1e-3


@both
def test_detail_is_found_where_there_is_detail(estimate, ball):
    assert np.median(estimate(ball).resolution[20:28, 20:28, 20:28]) < 7.0


def test_noise_alone_stays_at_the_coarse_end(ball):
    random = np.random.default_rng(0).normal(size=(2, 48, 48, 48))
    found = monores_halves(random[0], random[1], 1.0, ball.mask)
    assert np.median(found.resolution[ball.mask > 0.5]) > 10.0


@both
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_scaling_the_map_changes_nothing(estimate, factor, ball):
    from dataclasses import replace

    scaled = replace(ball, first=ball.first * np.float32(factor), second=ball.second * np.float32(factor))
    same = np.isclose(estimate(scaled).resolution, estimate(ball).resolution, atol=1e-2)
    assert same.mean() > 0.999


def test_a_quarter_turn_of_the_map_turns_the_answer(ball):
    # 47 voxels: an even box has one Nyquist plane to each axis, and no partner for it after the turn.
    first, second, mask = (part[1:, 1:, 1:] for part in (ball.first, ball.second, ball.mask))
    plain = monores_halves(first, second, 1.0, mask).resolution
    turned = monores_halves(
        *(np.rot90(part, axes=(0, 2)) for part in (first, second)), 1.0, np.rot90(mask, axes=(0, 2))
    ).resolution
    assert np.isclose(turned, np.rot90(plain, axes=(0, 2)), atol=1e-2).mean() > 0.999


def test_half_maps_swapped_give_the_same(ball):
    there = monores_halves(ball.first, ball.second, 1.0, ball.mask).resolution
    back = monores_halves(ball.second, ball.first, 1.0, ball.mask).resolution
    np.testing.assert_allclose(back, there, atol=1e-3)


def test_each_level_is_a_whole_number_of_fourier_pixels_and_comes_once():
    sweep = Sweep.of(as_tensor(np.zeros((40, 50, 60))), 1.5, 20.0, None, 0.25)
    pixels = 60 * 1.5 / np.array(sweep.resolutions)
    np.testing.assert_allclose(pixels, np.round(pixels), atol=1e-9)
    assert (np.diff(pixels) > 0.5).all()


@pytest.mark.parametrize(
    ("mask", "what"),
    [(np.zeros((48, 48, 48)), "empty"), (np.ones((48, 48, 48)), "solvent"), (np.ones((4, 4, 4)), "shape")],
)
def test_a_mask_that_can_not_be_used_is_refused(mask, what, ball):
    with pytest.raises(UsageError, match=what):
        monores(ball.mean, 1.0, mask)


def test_a_sweep_the_wrong_way_round_is_refused(ball):
    with pytest.raises(UsageError, match="sweep"):
        monores(ball.mean, 1.0, ball.mask, coarsest=3.0, finest=6.0)
