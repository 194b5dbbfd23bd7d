from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.simulate import ball as packed
from benchmarks.suspicion import seen_in
from emres.estimators.suspicion import suspect
from emres.simulate.halfmaps import simulate_half_maps
from emres.simulate.recipes import draw_recipe
from tests.estimators.conftest import low_passed

# What is to be said of a map after each treatment; the others are told in docs/estimators.md.
EXPECTED = {
    "none": set(),
    "zero outside the particle's sphere": set(),
    "mask, hard edge": {"masked"},
    "mask, 4 Å edge": {"masked"},
    "low-pass at the resolution": {"low-passed"},
    "low-pass at 1.5 resolutions": {"low-passed"},
    "FSC weights": {"low-passed"},
    "sharpened by its B factor": {"sharpened"},
}


@pytest.mark.parametrize("seed", range(5))
def test_each_treatment_of_a_simulated_map_is_told_and_nothing_else(seed):
    atoms = packed(400 + 150 * seed)
    recipe = draw_recipe(seed, extent=atoms.extent, box=40)
    framing = replace(recipe.framing, sphere=False)
    halves = simulate_half_maps(atoms, replace(recipe, symmetry="C1", crowd=1, framing=framing))
    seen = {name: {what for what, said in of.items() if said} for name, of in seen_in(halves, answers=False)}
    assert {name: seen[name] for name in EXPECTED if name in seen} == {n: EXPECTED[n] for n in EXPECTED if n in seen}
    assert len(seen.keys() & EXPECTED.keys()) >= 6


def test_a_map_in_the_sphere_of_its_particle_is_not_masked(ball):
    radius = np.sqrt(((np.indices(ball.mask.shape) - 23.5) ** 2).sum(0))
    noticed = suspect(ball.mean * (radius < 22), ball.voxel_size)
    assert noticed.in_a_sphere
    assert noticed.constant_share > 0.5
    assert not noticed.found


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_a_constant_map_counts_as_masked(value):
    assert suspect(np.full((12, 12, 12), value, np.float32), 1.0).constant_share == 1.0


@pytest.mark.parametrize("gain", [1e-40, 1e30])
def test_the_scale_of_a_map_changes_nothing(gain, ball):
    plain = suspect(ball.mean * ball.mask, ball.voxel_size)
    assert suspect((ball.mean * ball.mask).astype(np.float64) * gain, ball.voxel_size).sentences == plain.sentences


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 2), (3, 40, 5)])
def test_a_speck_is_no_error(shape):
    assert np.isfinite(suspect(np.random.default_rng(0).normal(size=shape), 1.0).power_rise)


def test_an_untouched_map_is_not_suspected(ball):
    assert not suspect(ball.mean, ball.voxel_size).found


def test_a_masked_map_is_noticed(ball):
    noticed = suspect(ball.mean * ball.mask, ball.voxel_size)
    assert noticed.constant_share == pytest.approx(1 - ball.mask.mean(), abs=0.05)
    assert any("masked" in said and "half maps" in said for said in noticed.sentences)


@pytest.mark.parametrize("cut", [4.0, 6.0])
def test_a_low_passed_map_is_noticed_and_its_cut_named(cut, ball):
    noticed = suspect(low_passed(ball.mean, cut), ball.voxel_size)
    assert noticed.low_passed_at == pytest.approx(cut, rel=0.1)
    assert any("low-passed" in said for said in noticed.sentences)


def test_a_sharpened_map_is_noticed(ball):
    axis = np.fft.fftfreq(48)
    squared = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2
    sharpened = np.fft.ifftn(np.fft.fftn(ball.mean) * np.exp(60 * squared / 4)).real
    assert any("sharpened" in said for said in suspect(sharpened, ball.voxel_size).sentences)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_the_simulated_maps_are_not_suspected(name, half_maps):
    halves = half_maps(name)
    assert not suspect(halves.mean, halves.voxel_size).found


def test_the_real_maps_give_themselves_away(real_map):
    assert suspect(real_map("emd_6824").mean, 2.64).low_passed_at == pytest.approx(8.4, abs=1.0)
    sphere = suspect(real_map("emd_1832").mean, 5.7)
    assert sphere.constant_share > 0.5
    assert sphere.in_a_sphere
