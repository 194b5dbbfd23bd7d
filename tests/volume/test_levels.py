"""Between places levels are smooth, and at a place they are what was found there."""

from __future__ import annotations

import numpy as np
import pytest

from emres.volume.levels import Levels

START, STEP = (4, -3, 0), 6


def along_z(values: np.ndarray, n: int = 80) -> np.ndarray:
    """What levels that differ along z alone, by so much from the median, are on the voxels of a box."""
    whole = np.broadcast_to(values[:, None, None], (len(values), 4, 3)).astype(np.float32)
    pattern = Levels(whole + np.float32(1.25), START, STEP, 1.25).pattern((0, 0, 0), (n, 9, 7))
    np.testing.assert_allclose(pattern, pattern[:, :1, :1] + np.zeros_like(pattern), atol=1e-6)
    return np.asarray(pattern[:, 0, 0])


def test_one_level_is_the_same_everywhere() -> None:
    np.testing.assert_allclose(along_z(np.full(5, 0.3)), 0.3, atol=1e-6)


def test_half_way_round_a_place_the_mean_is_what_was_found_there() -> None:
    """A place lies before a voxel, on its face."""
    values = np.random.default_rng(0).normal(size=12)
    found = along_z(values)
    at = START[0] + STEP * np.arange(1, 11)
    np.testing.assert_allclose((found[at - 1] + found[at]) / 2, values[1:-1], atol=0.1)


def test_a_slope_stays_straight() -> None:
    found = along_z(np.arange(12) * 0.1)
    np.testing.assert_allclose(np.diff(found[START[0] + STEP : START[0] + 10 * STEP]), 0.1 / STEP, atol=1e-6)


def test_a_maximum_between_two_places_keeps_its_height() -> None:
    """Of a wave of four and a half places a period; straight lines lose a tenth of its power and more."""
    places = (START[0] + STEP * np.arange(14)) - 0.5
    wave = 2 * np.pi / (4.5 * STEP)
    found, inside = along_z(np.cos(wave * places)), slice(START[0] + STEP, START[0] + 12 * STEP)
    voxels = np.arange(80)
    error = np.abs(found - np.cos(wave * voxels))[inside]
    straight = np.abs(np.interp(voxels, places, np.cos(wave * places)) - np.cos(wave * voxels))[inside]
    assert error.mean() < 0.5 * straight.mean()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_places_go_on_beyond_themselves(count: int) -> None:
    values = np.arange(count) * 0.2
    found = along_z(values)
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[-1] == pytest.approx(values[-1], abs=1e-6)
    assert np.isfinite(found).all()


def test_a_part_of_a_box_is_what_the_whole_has_there() -> None:
    values = np.random.default_rng(1).normal(size=(5, 6, 7)).astype(np.float32)
    levels = Levels(values, START, STEP, 0.1)
    whole = levels.pattern((0, 0, 0), (30, 30, 30))
    np.testing.assert_allclose(levels.pattern((8, 3, 11), (9, 10, 11)), whole[8:17, 3:13, 11:22], atol=1e-6)
