"""Half maps whose resolution is where the recipe puts it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emres.simulate.atoms import Atoms, centred
from emres.simulate.deposit import Processing, deposit, draw_processing
from emres.simulate.halfmaps import HalfMaps, Recipe, draw_recipe, local_b_factors, simulate_half_maps


def correlation(halves: HalfMaps, low: float, high: float) -> float:
    """FSC of the two halves between two frequencies, 1/voxel, inside the molecule's box."""
    shape = halves.grid.shape
    z, y, x = np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), np.fft.rfftfreq(shape[2])
    radius = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    shell = (radius >= low) & (radius < high)
    one, two = (np.fft.rfftn(half * halves.mask)[shell] for half in (halves.half_map_1, halves.half_map_2))
    return float((one * two.conj()).real.sum() / np.sqrt((abs(one) ** 2).sum() * (abs(two) ** 2).sum()))


@pytest.fixture(scope="module")
def halves(globule: Atoms) -> HalfMaps:
    return simulate_half_maps(globule, Recipe(seed=1, resolution=4.0))


def test_same_recipe_same_bytes(globule: Atoms, halves: HalfMaps) -> None:
    again = simulate_half_maps(globule, Recipe(seed=1, resolution=4.0))
    assert again.half_map_1.tobytes() == halves.half_map_1.tobytes()
    assert again.half_map_2.tobytes() == halves.half_map_2.tobytes()
    other = simulate_half_maps(globule, Recipe(seed=2, resolution=4.0))
    assert other.half_map_1.tobytes() != halves.half_map_1.tobytes()


def test_halves_agree_where_the_recipe_says_and_not_beyond(halves: HalfMaps) -> None:
    assert correlation(halves, 0.05, 0.15) > 0.6
    assert 0.02 < correlation(halves, 0.22, 0.28) < 0.4
    assert abs(correlation(halves, 0.35, 0.5)) < 0.1


def test_noise_of_the_two_halves_is_independent(halves: HalfMaps) -> None:
    outside = ~halves.mask
    noise_1, noise_2 = (half[outside] - half[outside].mean() for half in (halves.half_map_1, halves.half_map_2))
    assert abs(np.corrcoef(noise_1, noise_2)[0, 1]) < 0.1
    assert noise_1.std() == pytest.approx(noise_2.std(), rel=0.05)


def test_a_coarser_recipe_loses_fine_detail(globule: Atoms, halves: HalfMaps) -> None:
    coarse = simulate_half_maps(globule, Recipe(seed=1, resolution=7.0))
    assert correlation(coarse, 0.1, 0.2) < correlation(halves, 0.1, 0.2) - 0.2


def test_a_recipe_counts_in_voxels(globule: Atoms) -> None:
    """Twice the voxel, twice the object: the same map, up to scattering factors that are not scale-free."""
    twice = replace(globule, positions=2 * globule.positions, b_factors=4 * globule.b_factors)
    small, large = (
        simulate_half_maps(atoms, Recipe(seed=3, voxel_size=size)) for atoms, size in ((globule, 1.5), (twice, 3.0))
    )
    assert small.grid.shape == large.grid.shape
    inside = small.mask
    assert np.corrcoef(small.half_map_1[inside], large.half_map_1[inside])[0, 1] > 0.95


def test_nothing_remains_beyond_the_native_nyquist(globule: Atoms) -> None:
    halves = simulate_half_maps(globule, Recipe(seed=1, native=1.6))
    spectrum = np.abs(np.fft.rfftn(halves.half_map_1))
    frequency = np.abs(np.fft.fftfreq(halves.grid.shape[0]))
    beyond = spectrum[frequency > 0.5 / 1.6 + 0.01].max()
    assert beyond < 1e-4 * spectrum.max()


def test_b_factors_vary_smoothly(globule: Atoms) -> None:
    recipe = Recipe(seed=4, wander=8.0, deposited=0.0, radial=0.0)
    b_factors = local_b_factors(globule, recipe, np.random.default_rng(4))
    distance = np.linalg.norm(globule.positions[:, None] - globule.positions[None], axis=2)
    difference = np.abs(b_factors[:, None] - b_factors[None])
    near, far = (distance > 0) & (distance < 3), distance > 15
    assert b_factors.min() > 0
    assert difference[near].mean() < 0.5 * difference[far].mean()


def test_box_fits_the_molecule_with_its_padding(globule: Atoms, halves: HalfMaps) -> None:
    assert all(side % 4 == 0 for side in halves.grid.shape)
    inside = np.argwhere(halves.mask)
    assert inside.min() >= 8
    assert (np.array(halves.grid.shape) - inside.max(0)).min() >= 8
    assert centred(globule, halves.grid).positions.min() > 0


def test_drawn_recipes_differ_and_repeat() -> None:
    recipes = [draw_recipe(seed) for seed in range(50)]
    assert recipes == [draw_recipe(seed) for seed in range(50)]
    assert len({recipe.resolution for recipe in recipes}) == 50
    assert all(1.09 * recipe.native < recipe.resolution <= 5.01 for recipe in recipes)
    assert len({draw_processing(seed) for seed in range(50)}) > 20


def test_plain_deposit_is_the_average(halves: HalfMaps) -> None:
    np.testing.assert_array_equal(
        deposit(halves, Processing()), (halves.half_map_1 + halves.half_map_2) / np.float32(2)
    )


def test_each_processing_does_what_it_says(halves: HalfMaps) -> None:
    def fine_share(density: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfftn(density)) ** 2
        return float(spectrum[10:20].sum() / spectrum[1:5].sum())

    plain = deposit(halves, Processing())
    assert fine_share(deposit(halves, Processing(sharpening=8))) > 1.5 * fine_share(plain)
    assert fine_share(deposit(halves, Processing(low_pass=1.0))) < 0.5 * fine_share(plain)
    assert fine_share(deposit(halves, Processing(fsc_weighting=True))) < 0.5 * fine_share(plain)
    masked = deposit(halves, Processing(soft_mask=3))
    assert (masked == 0).mean() > 0.3
    np.testing.assert_allclose(masked[halves.mask], plain[halves.mask], rtol=1e-5)
