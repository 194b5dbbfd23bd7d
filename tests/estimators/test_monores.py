from __future__ import annotations

from dataclasses import replace

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


def moved(ball, move, sign=1.0):
    """Move both half maps and the mask alike."""
    first, second = (np.float32(sign) * move(part) for part in (ball.first, ball.second))
    return replace(ball, first=first, second=second, mask=move(ball.mask))


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


@both
@pytest.mark.parametrize("seed", [0, 1])
def test_noise_alone_is_unresolved(estimate, seed, ball):
    # From one map: few voxels reach the solvent's upper 5 %. From halves: closed within the sweep's first steps.
    first, second = np.random.default_rng(seed).normal(size=(2, 48, 48, 48)).astype(np.float32)
    found = estimate(replace(ball, first=first, second=second))
    assert found.unresolved_share > 0.8
    assert np.median(found.resolution[ball.mask > 0.5]) in (0.0, pytest.approx(16.0, abs=0.1))


@both
def test_two_plateaus_are_found_to_a_step_and_a_half(estimate, two_plateaus):
    halves, fine, coarse = two_plateaus
    found = estimate(halves)
    for plateau, cut in ((fine, 4.0), (coarse, 8.0)):
        assert np.median(found.resolution[plateau]) == pytest.approx(cut, abs=1.5 * found.parameters["step"])


@both
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_scaling_the_map_changes_nothing(estimate, factor, ball):
    scaled = replace(ball, first=ball.first * np.float32(factor), second=ball.second * np.float32(factor))
    same = np.isclose(estimate(scaled).resolution, estimate(ball).resolution, atol=1e-2)
    assert same.mean() > 0.999


@both
@pytest.mark.parametrize("edge", [45, 48])
@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
def test_a_quarter_turn_of_the_map_turns_the_answer(estimate, axes, edge, ball):
    plain = moved(ball, lambda part: part[:edge, :edge, :edge])
    turned = estimate(moved(plain, lambda part: np.rot90(part, axes=axes))).resolution
    np.testing.assert_allclose(turned, np.rot90(estimate(plain).resolution, axes=axes), atol=2e-2)


def test_a_shift_of_the_half_maps_shifts_the_answer(ball):
    def shifted(part: np.ndarray) -> np.ndarray:
        return np.roll(part, (7, -6, 5), axis=(0, 1, 2))

    np.testing.assert_allclose(halves(moved(ball, shifted)).resolution, shifted(halves(ball).resolution), atol=2e-2)


def test_a_shift_of_one_map_shifts_the_answer_as_far_as_the_solvent_stays_the_same(ball):
    # The noise is taken in a sphere round the middle of the box: a shift brings other voxels into it.
    def shifted(part: np.ndarray) -> np.ndarray:
        return np.roll(part, (7, -6, 5), axis=(0, 1, 2))

    there, back = single(moved(ball, shifted)).resolution, shifted(single(ball).resolution)
    both_found = (there > 0) & (back > 0)
    assert both_found.sum() > 0.98 * (ball.mask > 0.5).sum()
    assert np.abs(there - back)[both_found].mean() < 0.1


@both
def test_a_map_of_inverted_contrast_has_the_same_resolution(estimate, ball):
    inverted = estimate(moved(ball, lambda part: part, sign=-1.0)).resolution
    np.testing.assert_allclose(inverted, estimate(ball).resolution, atol=2e-2)


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
