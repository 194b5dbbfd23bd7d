"""Half maps whose resolution is where the recipe puts it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from emres.errors import UsageError
from emres.estimators.fsc import dense_fsc
from emres.estimators.global_fsc import global_fsc
from emres.simulate.atoms import Atoms
from emres.simulate.density import squared_frequency
from emres.simulate.halfmaps import HalfMaps, add_noise, check_memory, simulate_half_maps, simulate_signal
from emres.simulate.noise import noise_gain
from emres.simulate.recipe import Envelope, Framing, Motion, Noise, Recipe, Surroundings
from emres.simulate.recipes import RECIPES
from emres.volume.grid import Grid
from emres.volume.masking import soft_edge
from tests.simulate.conftest import ball

RECIPE = Recipe(seed=1).at(resolution=5.0, voxel_size=1.5)
STILL = Motion(deposited=0.0, radial=0.0, field=0.0)


@pytest.fixture(scope="module")
def halves(globule: Atoms) -> HalfMaps:
    return simulate_half_maps(globule, RECIPE)


def test_same_recipe_same_bytes(globule: Atoms, halves: HalfMaps) -> None:
    again = simulate_half_maps(globule, RECIPE)
    assert again.half_map_1.tobytes() == halves.half_map_1.tobytes()
    assert again.half_map_2.tobytes() == halves.half_map_2.tobytes()
    other = simulate_half_maps(globule, replace(RECIPE, seed=2))
    assert other.half_map_1.tobytes() != halves.half_map_1.tobytes()


SCRIPT = """
import hashlib, sys
from scipy import fft
from emres.simulate.deposit import deposit
from emres.simulate.halfmaps import simulate_half_maps
from emres.simulate.recipe import Processing, Recipe, Surroundings
from tests.simulate.conftest import ball
atoms = ball(14.0, (0.0, 0.0, 0.0), 20.0, seed=5)
work = Processing(fsc_weighting=True, sharpening=-50.0, mask="molecule", crop=True, voxel_size=1.1)
recipe = Recipe(seed=4, voxel_size=1.5, symmetry="C3", surroundings=Surroundings(micelle=0.5), processing=work)
with fft.set_workers(int(sys.argv[1])):
    halves = simulate_half_maps(atoms, recipe.at(resolution=5.0))
    density, _ = deposit(halves)
print(hashlib.sha256(halves.half_map_1.tobytes() + halves.half_map_2.tobytes() + density.tobytes()).hexdigest())
"""


def test_the_number_of_threads_changes_no_byte() -> None:
    said = []
    for threads in ("1", "4"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, threads)}
        done = subprocess.run([sys.executable, "-c", SCRIPT, threads], env=environment, capture_output=True, check=True)
        said.append(done.stdout)
    assert said[0] == said[1]


def shell_sums(values: np.ndarray, shell: np.ndarray) -> np.ndarray:
    return np.bincount(shell.ravel(), weights=values.ravel())


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_the_fsc_of_the_halves_is_signal_over_signal_and_noise(globule: Atoms, power: float) -> None:
    """FSC = S / (S + N) in every shell, S from the noise-free map and N from the recipe: over 20 pairs of halves."""
    signal = simulate_signal(globule, replace(RECIPE, noise=Noise(power)))
    square = squared_frequency(signal.grid)
    width = 2 / max(signal.grid.extent)
    shell = np.rint(np.sqrt(square) / width).astype(int)
    inside = slice(1, int(0.5 / RECIPE.voxel_size / width))
    noise = (signal.noise_scale * noise_gain(signal.grid, signal.recipe.noise, np.eye(3)[0])) ** 2 * signal.grid.voxels
    clean = np.abs(np.fft.rfftn(signal.density)) ** 2
    expected = (shell_sums(clean, shell) / (shell_sums(clean, shell) + shell_sums(noise, shell)))[inside]
    measured = []
    for draw in range(20):
        pair = add_noise(signal, draw)
        one, two = (np.fft.rfftn(half) for half in (pair.half_map_1, pair.half_map_2))
        cross, first, second = (
            shell_sums(v, shell) for v in ((one * two.conj()).real, np.abs(one) ** 2, np.abs(two) ** 2)
        )
        measured.append((cross / np.sqrt(first * second))[inside])
    error = np.std(measured, axis=0) / np.sqrt(20)
    assert expected.max() > 0.9
    assert expected.min() < 0.05
    assert (np.abs(np.mean(measured, axis=0) - expected) < 4 * error + 0.005).all()


@pytest.mark.parametrize("name", ["plain", "membrane", "flexible", "symmetric", "preferred-orientation"])
def test_the_global_fsc_crosses_at_the_resolution(globule: Atoms, name: str) -> None:
    recipe = replace(RECIPES[name].at(resolution=5.0, voxel_size=1.5), seed=3)
    halves = simulate_half_maps(globule, recipe)
    curve = global_fsc(halves.half_map_1, halves.half_map_2, 1.5, soft_edge(halves.mask, 4.0))
    assert curve.resolution(curve="masked") == pytest.approx(5.0, rel=0.1)


def test_an_object_of_two_b_factors_has_two_plateaus() -> None:
    """Each ball's local FSC crosses where its own signal meets the noise of its own volume."""
    sharp, soft = ball(20.0, (0, 0, 0), 10.0, seed=1), ball(20.0, (0, 0, 52.0), 130.0, seed=2)
    motion, around = replace(STILL, deposited=1.0), Surroundings(solvent=0.0)
    envelope = Envelope(100.0, "none", detector=1.0)
    recipe = Recipe(1, 1.5, 4.0, motion=motion, surroundings=around, envelope=envelope, noise=Noise(0.0))
    signal = simulate_signal(sharp.joined(soft), recipe)
    halves = add_noise(signal)
    estimate = dense_fsc(halves.half_map_1, halves.half_map_2, 1.5, window=30.0)
    x = np.arange(signal.grid.shape[2]) * 1.5 + signal.grid.origin[2]
    for part, weight in ((x < 26, sharp), (x >= 26, soft)):
        mask = signal.mask & part[None, None, :]
        expected = own_crossing(signal.density * mask, mask, signal.noise_scale, signal.grid)
        centre = weight.middle
        index = np.argwhere(mask) * 1.5 + np.array(signal.grid.origin)
        core = np.argwhere(mask)[np.linalg.norm(index - centre, axis=1) < 10]
        measured = float(np.median(np.asarray(estimate.resolution)[tuple(core.T)]))
        assert measured == pytest.approx(expected, rel=0.12)


def own_crossing(density: np.ndarray, mask: np.ndarray, noise_scale: float, grid: Grid) -> float:
    """Return where S / (S + N) of one part of a map falls to 0.143, Å."""
    width = 1.5 / max(grid.extent)
    shell = np.rint(np.sqrt(squared_frequency(grid)) / width).astype(int)
    power = shell_sums(np.abs(np.fft.rfftn(density)) ** 2, shell) / np.bincount(shell.ravel())
    noise = noise_scale**2 * grid.voxels * mask.mean()
    below = np.flatnonzero(power[2:] / (power[2:] + noise) < 0.143)[0] + 2
    before, after = (power[k] / (power[k] + noise) for k in (below - 1, below))
    return float(1 / (width * (below - 1 + (before - 0.143) / (before - after))))


def test_a_coarser_recipe_is_the_same_object_seen_coarser(globule: Atoms, halves: HalfMaps) -> None:
    coarse = simulate_half_maps(globule, RECIPE.at(resolution=9.0))
    curves = [global_fsc(h.half_map_1, h.half_map_2, 1.5).unmasked for h in (halves, coarse)]
    frequency = np.arange(len(curves[0]))
    assert curves[1][len(frequency) // 3] < curves[0][len(frequency) // 3] - 0.2


def test_a_given_box_too_small_is_refused_before_anything_is_drawn(globule: Atoms) -> None:
    with pytest.raises(UsageError, match="box is too small for the model"):
        simulate_half_maps(globule, replace(RECIPE, framing=Framing(shape=(40, 40, 16))))


@pytest.mark.parametrize("framing", [Framing(shape=(33, 41, 38)), Framing(odd=True), Framing(cubic=True, padding=5.0)])
def test_boxes_of_any_shape_work(globule: Atoms, framing: Framing) -> None:
    halves = simulate_half_maps(globule, replace(RECIPE, framing=framing))
    assert halves.half_map_1.shape == halves.half_map_2.shape == halves.mask.shape == halves.grid.shape
    assert halves.half_map_1.dtype == np.float32
    assert np.isfinite(halves.half_map_1).all()


def test_a_huge_box_is_refused_early_with_both_numbers(globule: Atoms) -> None:
    with pytest.raises(
        UsageError, match=r"4096 x 4096 x 4096 voxels does not fit .* got 8 GiB, expected 2\.05e\+03 GiB"
    ):
        check_memory(Grid((4096,) * 3, (1.0,) * 3), 8 * 2**30)
    huge = replace(RECIPE, framing=Framing(shape=(9000, 9000, 9000)))
    with pytest.raises(UsageError, match="does not fit in memory"):
        simulate_half_maps(globule, huge)


def test_a_sphere_leaves_nothing_in_the_corners(globule: Atoms) -> None:
    halves = simulate_half_maps(globule, replace(RECIPE, framing=Framing(cubic=True, sphere=True)))
    assert halves.half_map_1[0, 0, 0] == 0
    assert np.abs(halves.half_map_1[halves.mask]).min() > 0
    bare = simulate_half_maps(globule, replace(RECIPE, framing=Framing(cubic=True)))
    np.testing.assert_array_equal(halves.half_map_1[halves.mask], bare.half_map_1[bare.mask])


def test_maps_lie_on_their_model(globule: Atoms) -> None:
    """Density is highest where the atoms are, in the coordinates of the file."""
    moved = replace(globule, positions=globule.positions + np.array([100.0, -30.0, 5.0]))
    halves = simulate_half_maps(moved, RECIPE)
    index = np.rint((moved.positions - np.array(halves.grid.origin)) / 1.5).astype(int)
    at_atoms = halves.half_map_1[tuple(index.T)].mean()
    assert at_atoms > halves.half_map_1[halves.mask].mean() > halves.half_map_1[~halves.mask].mean()
