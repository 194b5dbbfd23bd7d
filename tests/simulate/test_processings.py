"""What is drawn to be done to a map stays within what can be done, and does everything now and then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from emres.errors import UsageError
from emres.simulate.atoms import Atoms
from emres.simulate.deposit import deposit
from emres.simulate.halfmaps import HalfMaps, simulate_half_maps
from emres.simulate.processings import draw_change, draw_handling, draw_stripped
from emres.simulate.recipe import Processing, Recipe


@pytest.fixture(scope="module")
def halves(globule: Atoms) -> HalfMaps:
    return simulate_half_maps(globule, Recipe(voxel_size=2.0, resolution=6.0))


@pytest.mark.parametrize("resolution", [1.8, 4.0, 19.0])
def test_amplitudes_at_the_resolution_change_by_a_factor_of_12_at_most(resolution: float) -> None:
    drawn = [draw_handling(seed, resolution, resolution / 3) for seed in range(200)]
    factors = np.exp(np.abs([one.sharpening for one in drawn]) / (4 * resolution**2))
    assert 5 < factors.max() < 12.2
    assert {np.sign(one.sharpening) for one in drawn} == {-1, 0, 1}


def test_everything_is_done_now_and_then_and_nothing_always() -> None:
    drawn = [draw_handling(seed, 6.0, 2.0) for seed in range(200)]
    for done in (
        [one.fsc_weighting for one in drawn],
        [one.low_pass > 0 for one in drawn],
        [one.mask == "molecule" for one in drawn],
        [one.crop for one in drawn],
        [one.region < 1 for one in drawn],
        [one.voxel_size > 0 for one in drawn],
    ):
        assert 0.1 < np.mean(done) < 0.8


def test_a_single_change_is_one_of_five_and_each_of_them_is_drawn() -> None:
    drawn = [draw_change(seed, 6.0, 2.0) for seed in range(200)]
    done = np.array(
        [[one.mask == "molecule", one.sharpening != 0, one.low_pass > 0, one.crop, one.voxel_size > 0] for one in drawn]
    )
    assert np.all(done.sum(axis=1) == 1)
    assert np.all(done.mean(axis=0) > 0.1)
    assert not any(one.fsc_weighting for one in drawn)
    assert {one.mask_edge > 0 for one in drawn if one.mask == "molecule"} == {False, True}


def test_what_is_stripped_was_handled_as_any_other() -> None:
    for seed in range(40):
        usual, stripped = draw_handling(seed, 6.0, 2.0), draw_stripped(seed, 6.0, 2.0)
        assert usual.contour is None
        if stripped.mask_edge > 0:
            assert replace(stripped, contour=None) == usual
        else:
            masked = {"mask": usual.mask, "mask_edge": usual.mask_edge, "region": usual.region}
            assert replace(stripped, contour=None, **masked) == usual


def test_what_is_stripped_alone_is_cut_out_at_most() -> None:
    drawn = [draw_stripped(seed, 6.0, 2.0, alone=True) for seed in range(200)]
    for one in drawn:
        assert replace(one, contour=None, mask="none", mask_edge=Processing().mask_edge, region=1.0) == Processing()
    assert 0.4 < np.mean([one.mask == "none" for one in drawn]) < 0.6
    assert 0.1 < np.mean([one.region < 1 for one in drawn]) < 0.4


def test_of_what_is_stripped_half_loses_what_is_negative_and_half_is_cut_out_without_an_edge() -> None:
    drawn = [draw_stripped(seed, 6.0, 2.0) for seed in range(200)]
    contours = [one.contour for one in drawn if one.contour is not None]
    assert len(contours) == len(drawn)
    assert 0.4 < np.mean([contour == 0 for contour in contours]) < 0.6
    assert 0.7 < max(contours) <= 0.8
    cut = [one for one in drawn if one.mask_edge == 0]
    assert 0.4 < len(cut) / len(drawn) < 0.6
    assert all(one.mask == "molecule" for one in cut)
    assert 0.5 < np.mean([one.region < 1 for one in cut]) < 0.8


def test_no_map_is_resampled_beyond_its_resolution() -> None:
    assert all(2.1 * max(draw_handling(seed, 4.4, 2.0).voxel_size, 2.0) <= 4.4 for seed in range(200))


@pytest.mark.parametrize("draw", [draw_handling, draw_stripped])
def test_whatever_is_drawn_can_be_done(halves: HalfMaps, draw: Callable[[int, float, float], Processing]) -> None:
    for seed in range(6):
        density, grid = deposit(halves, draw(seed, 6.0, 2.0), most_gain=5.0)
        assert density.shape == grid.shape
        assert np.isfinite(density).all()
        assert density.any()


def test_a_resolution_below_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="a resolution is out of range"):
        draw_handling(0, -1.0, 1.0)
