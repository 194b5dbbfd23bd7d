"""Each thing that depositors do does what it says, and the grid that comes back is the grid of the map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emres.simulate.atoms import Atoms
from emres.simulate.density import squared_frequency
from emres.simulate.deposit import deposit, fsc_weight, kept_region, near_edge
from emres.simulate.halfmaps import HalfMaps, simulate_half_maps
from emres.simulate.processings import draw_deposits, draw_processing
from emres.simulate.recipe import Processing, Recipe
from emres.simulate.recipes import draw_recipe
from emres.volume.masking import soft_edge
from emres.volume.resample import fourier_resample


@pytest.fixture(scope="module")
def halves(globule: Atoms) -> HalfMaps:
    return simulate_half_maps(globule, Recipe(seed=1).at(resolution=5.0, voxel_size=1.5))


def test_nothing_done_is_the_average(halves: HalfMaps) -> None:
    density, grid = deposit(halves)
    np.testing.assert_array_equal(density, (halves.half_map_1 + halves.half_map_2) / np.float32(2))
    assert grid == halves.grid


def gain_between(halves: HalfMaps, processing: Processing) -> tuple[np.ndarray, np.ndarray]:
    plain, worked = (np.fft.rfftn(deposit(halves, how)[0]) for how in (Processing(), processing))
    inside = squared_frequency(halves.grid) < (0.45 / 1.5) ** 2
    frequency = np.sqrt(squared_frequency(halves.grid))[inside]
    return frequency, (worked[inside] / plain[inside]).real


def test_sharpening_is_its_b_factor(halves: HalfMaps) -> None:
    frequency, gain = gain_between(halves, Processing(sharpening=-80.0))
    np.testing.assert_allclose(gain, np.exp(20 * frequency**2), rtol=1e-2)


def test_a_low_pass_keeps_what_is_below_and_takes_what_is_above(halves: HalfMaps) -> None:
    frequency, gain = gain_between(halves, Processing(low_pass=6.0))
    np.testing.assert_allclose(gain[frequency < 0.75 / 6], 1, atol=0.01)
    assert np.abs(gain[frequency > 1.3 / 6]).max() < 0.01


def test_fsc_weighting_is_the_weight_of_rosenthal_and_henderson(halves: HalfMaps) -> None:
    weight, width = fsc_weight(halves)
    frequency, gain = gain_between(halves, Processing(fsc_weighting=True))
    np.testing.assert_allclose(gain, weight[np.rint(frequency / width).astype(int)], atol=2e-3)
    assert weight[2] > 0.95
    crossing = weight[round(1 / 5.0 / width)]
    assert crossing == pytest.approx(np.sqrt(2 * 0.143 / 1.143), abs=0.2)


def test_a_molecule_mask_leaves_the_molecule_alone_and_zeros_outside(halves: HalfMaps) -> None:
    plain, _ = deposit(halves)
    masked, _ = deposit(halves, Processing(mask="molecule", mask_edge=6.0))
    assert (masked == 0).mean() > 0.3
    np.testing.assert_allclose(masked[halves.mask], plain[halves.mask], rtol=1e-5)


def test_the_edge_in_a_box_is_the_edge_in_the_whole(halves: HalfMaps) -> None:
    for width in (0.0, 3.3, 40.0):
        np.testing.assert_array_equal(near_edge(halves.mask, width), soft_edge(halves.mask, width))
    assert not near_edge(np.zeros((4, 5, 6), dtype=bool), 2.0).any()


def test_a_crop_is_a_part_of_the_map_in_its_place(halves: HalfMaps) -> None:
    whole, _ = deposit(halves)
    part, grid = deposit(halves, Processing(crop=True, crop_margin=3.0, mask_edge=0.0))
    start = np.rint(halves.grid.to_index(grid.origin)).astype(int)
    np.testing.assert_array_equal(part, whole[tuple(slice(a, a + n) for a, n in zip(start, part.shape, strict=True))])
    assert part.size < 0.7 * whole.size
    assert part.shape == grid.shape


def test_a_crop_that_keeps_its_grid_is_zero_outside(halves: HalfMaps) -> None:
    how = Processing(crop=True, crop_margin=3.0)
    part, _ = deposit(halves, how)
    kept, grid = deposit(halves, how, same_grid=True)
    assert grid == halves.grid
    np.testing.assert_array_equal(kept[kept != 0], part[part != 0])
    np.testing.assert_array_equal(kept[kept != 0], deposit(halves)[0][kept != 0])


def test_a_region_is_one_seeded_share_of_the_molecule(halves: HalfMaps) -> None:
    how = Processing(region=0.3, mask="molecule", crop=True)
    kept = kept_region(halves, how)
    assert kept.sum() == pytest.approx(0.3 * halves.mask.sum(), rel=0.01)
    assert not (kept & ~halves.mask).any()
    np.testing.assert_array_equal(kept, kept_region(halves, how))
    part, _ = deposit(halves, how)
    assert part.size < deposit(halves, replace(how, region=1.0))[0].size


@pytest.mark.parametrize("contour", [0.0, 0.7])
def test_a_contour_takes_what_lies_below_it_and_leaves_the_rest(halves: HalfMaps, contour: float) -> None:
    plain, _ = deposit(halves)
    stripped, _ = deposit(halves, Processing(contour=contour))
    level = contour * np.sqrt(np.square(plain[halves.mask]).mean())
    above = plain > level
    np.testing.assert_array_equal(stripped[above], plain[above])
    assert not stripped[~above].any()
    assert 0.01 < above.mean() < 0.7


def test_a_mask_without_an_edge_is_the_molecule_itself(halves: HalfMaps) -> None:
    plain, _ = deposit(halves)
    masked, _ = deposit(halves, Processing(mask="molecule", mask_edge=0.0))
    np.testing.assert_array_equal(masked, np.where(halves.mask, plain, 0))


@pytest.mark.parametrize("voxel_size", [1.1, 2.0])
def test_resampling_keeps_the_map_where_it_is(halves: HalfMaps, voxel_size: float) -> None:
    how = Processing(low_pass=6.0, crop=True, voxel_size=voxel_size)
    density, grid = deposit(halves, how)
    assert grid.voxel_size == (voxel_size,) * 3
    smooth, _ = deposit(halves, Processing(low_pass=6.0))
    np.testing.assert_allclose(density, fourier_resample(smooth, halves.grid, grid), atol=1e-5 * abs(smooth).max())
    place = halves.grid.to_angstrom(tuple(np.argwhere(halves.mask).mean(axis=0)))  # type: ignore[arg-type]
    there = np.rint(grid.to_index(place)).astype(int)
    here = np.rint(halves.grid.to_index(place)).astype(int)
    assert density[tuple(there)] == pytest.approx(smooth[tuple(here)], rel=0.5)


def test_masked_and_resampled_maps_have_exact_zeros(halves: HalfMaps) -> None:
    density, _ = deposit(halves, Processing(mask="molecule", mask_edge=3.0, voxel_size=1.2))
    assert (density == 0).mean() > 0.3


def test_whatever_is_drawn_can_be_done(globule: Atoms) -> None:
    for seed in range(25):
        recipe = draw_recipe(seed, extent=globule.extent, box=64)
        density, grid = deposit(simulate_half_maps(globule, recipe))
        assert density.shape == grid.shape
        assert density.dtype == np.float32
        assert np.isfinite(density).all(), recipe
        assert density.std() > 0, recipe


def test_further_deposits_are_drawn_beside_the_first_and_differ() -> None:
    recipe = Recipe(seed=3)
    three, six = draw_deposits(recipe, 3), draw_deposits(recipe, 6)
    assert draw_deposits(recipe, 1) == (recipe.processing,)
    assert six[:3] == three
    assert len(set(six)) == 6
    assert set(six[1:]).isdisjoint(draw_deposits(replace(recipe, seed=4), 6))


def test_the_same_grid_when_asked(halves: HalfMaps) -> None:
    for seed in range(20):
        assert deposit(halves, draw_processing(seed, 5.0, 1.5, same_grid=True))[1] == halves.grid
