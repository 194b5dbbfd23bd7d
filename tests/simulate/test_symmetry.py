"""Copies stand round an axis and touch; averaged volumes repeat under every turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import KDTree

from emres.errors import UsageError
from emres.simulate.atoms import Atoms
from emres.simulate.halfmaps import simulate_half_maps, simulate_signal
from emres.simulate.noise import draw_noise
from emres.simulate.recipe import Framing, Noise, Recipe, Surroundings
from emres.simulate.symmetry import copies, symmetrised
from emres.volume.grid import Grid


@pytest.mark.parametrize("symmetry", ["C1", "C2", "C3", "C7", "D1", "D2", "D5"])
def test_copies_touch_without_overlap_and_the_first_stays(globule: Atoms, symmetry: str) -> None:
    every, centre = copies(globule, symmetry)
    number = int(symmetry[1:]) * (2 if symmetry[0] == "D" else 1)
    assert len(every) == number * len(globule)
    np.testing.assert_allclose(every.positions[: len(globule)], globule.positions, atol=1e-9)
    balanced = {"C1": [], "D1": [0, 1]}.get(symmetry, [0, 1, 2] if symmetry[0] == "D" else [1, 2])
    np.testing.assert_allclose(every.positions.mean(axis=0)[balanced], centre[balanced], atol=1e-6)
    if number > 1:
        others = KDTree(every.positions[len(globule) :])
        nearest = others.query(globule.positions)[0].min()
        assert 2.0 < nearest < 6.0


@pytest.mark.parametrize("symmetry", ["C2", "C4", "D2", "D4"])
def test_the_signal_and_the_noise_are_symmetric_where_turns_carry_voxels_onto_voxels(
    globule: Atoms, symmetry: str
) -> None:
    around = Surroundings(micelle=0.5)
    recipe = Recipe(seed=2, symmetry=symmetry, surroundings=around).at(resolution=7.0, voxel_size=2.5)
    recipe = replace(recipe, noise=Noise(anisotropy=0.5))
    for volume in (simulate_signal(globule, recipe).density, simulate_half_maps(globule, recipe).half_map_1):
        quarter = np.rot90(volume, axes=(1, 2)) if "4" in symmetry else np.rot90(volume, 2, axes=(1, 2))
        scale = 0.01 * volume.std()  # what gemmi leaves out of an atom's far edge depends on where its voxels lie
        np.testing.assert_allclose(quarter, volume, atol=scale)
        if symmetry[0] == "D":
            np.testing.assert_allclose(volume[::-1, ::-1], volume, atol=scale)


def test_threefold_noise_is_symmetric_and_its_spectrum_white() -> None:
    grid = Grid((32, 48, 48), (1.0,) * 3)
    gain = np.ones((32, 48, 25), dtype=np.float32)
    noise = draw_noise(grid, gain, "C3", np.random.default_rng(0))
    again = symmetrised(noise, "C3")
    inside = np.hypot(*(np.mgrid[:48, :48] - 23.5)) < 20
    assert np.corrcoef(noise[:, inside].ravel(), again[:, inside].ravel())[0, 1] > 0.9
    power = np.abs(np.fft.fftn(noise)) ** 2 / noise.size
    ring = np.hypot(*np.meshgrid(np.fft.fftfreq(48), np.fft.fftfreq(48)))
    for low, high in ((0.05, 0.15), (0.15, 0.3), (0.3, 0.45)):
        assert power[:, (ring >= low) & (ring < high)].mean() == pytest.approx(1, abs=0.1)


def test_no_symmetry_changes_nothing() -> None:
    volume = np.random.default_rng(0).standard_normal((6, 7, 8), dtype=np.float32)
    assert symmetrised(volume, "C1") is volume


def test_a_box_that_is_not_square_about_the_axis_is_refused(globule: Atoms) -> None:
    recipe = Recipe(symmetry="C3", framing=Framing(shape=(60, 60, 64))).at(resolution=7.0, voxel_size=2.5)
    with pytest.raises(UsageError, match=r"not square about the axis of C3: got 60 x 64 voxels"):
        simulate_half_maps(globule, recipe)
