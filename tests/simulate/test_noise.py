"""Noise has the colour that the recipe names, and is another one in each half."""

from __future__ import annotations

import numpy as np
import pytest

from emres.simulate.atoms import Atoms
from emres.simulate.halfmaps import add_noise, simulate_signal
from emres.simulate.noise import draw_noise, noise_gain
from emres.simulate.recipe import Noise, Recipe
from emres.volume.grid import Grid

Z = np.array([1.0, 0.0, 0.0])


def power_by_shell(volume: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return frequency, mean power and number of coefficients of each shell."""
    axes = (np.fft.fftfreq(n, d) for n, d in zip(grid.shape, grid.voxel_size, strict=True))
    z, y, x = np.meshgrid(*axes, indexing="ij")
    frequency = np.sqrt(z**2 + y**2 + x**2)
    edges = np.linspace(0.05, 0.5, 16) / max(grid.voxel_size)
    shell = np.digitize(frequency, edges)
    power = np.abs(np.fft.fftn(volume)) ** 2
    inside = [shell == k for k in range(1, len(edges))]
    columns = zip(*[(frequency[i].mean(), power[i].mean(), i.sum()) for i in inside], strict=True)
    one, two, three = (np.array(column) for column in columns)
    return one, two, three


@pytest.mark.parametrize("power", [-0.5, 0.0, 0.7, 1.3])
@pytest.mark.parametrize("shape", [(48, 48, 48), (33, 50, 41)])
def test_the_power_spectrum_of_the_noise_is_a_power_of_frequency(power: float, shape: tuple[int, int, int]) -> None:
    grid = Grid(shape, (1.3,) * 3)
    noise = draw_noise(grid, noise_gain(grid, Noise(power), Z), "C1", np.random.default_rng(1))
    frequency, measured, count = power_by_shell(noise, grid)
    slope = np.polyfit(np.log(frequency), np.log(measured), 1)[0]
    assert slope == pytest.approx(power, abs=0.06)
    # Half of the coefficients are independent, each with a power that varies by as much as its mean.
    assert (np.abs(measured / frequency**power / grid.voxels - 1) < 4 / np.sqrt(count / 2) + 0.01).all()


def test_nothing_is_beyond_nyquist() -> None:
    grid = Grid((24, 24, 24), (1.0,) * 3)
    noise = draw_noise(grid, noise_gain(grid, Noise(), Z), "C1", np.random.default_rng(0))
    spectrum = np.abs(np.fft.fftn(noise))
    z, y, x = np.meshgrid(*[np.fft.fftfreq(24)] * 3, indexing="ij")
    beyond = z**2 + y**2 + x**2 > 0.5**2 + 1e-6
    assert spectrum[beyond].max() < 1e-4 * spectrum.max()


def test_anisotropy_moves_power_to_one_axis_and_leaves_the_shells_alone() -> None:
    grid = Grid((48, 48, 48), (1.0,) * 3)
    even, uneven = (noise_gain(grid, Noise(0.5, a), Z) ** 2 for a in (0.0, 0.6))
    assert uneven[12, 0, 0] / even[12, 0, 0] == pytest.approx(1.6, rel=1e-3)
    assert uneven[0, 12, 0] / even[0, 12, 0] == pytest.approx(0.7, rel=1e-3)
    flat = draw_noise(grid, np.sqrt(even), "C1", np.random.default_rng(1))
    bent = draw_noise(grid, np.sqrt(uneven), "C1", np.random.default_rng(1))
    (_, one, _), (_, two, _) = power_by_shell(flat, grid), power_by_shell(bent, grid)
    np.testing.assert_allclose(two / one, 1, atol=0.12)


def test_the_two_halves_and_two_draws_share_signal_and_no_noise(globule: Atoms) -> None:
    signal = simulate_signal(globule, Recipe(seed=3).at(resolution=5.0, voxel_size=1.5))
    draws = [add_noise(signal), add_noise(signal, draw=1)]
    noises = [half - signal.density for halves in draws for half in (halves.half_map_1, halves.half_map_2)]
    correlation = np.corrcoef([noise.ravel() for noise in noises])
    assert np.abs(correlation - np.eye(4)).max() < 0.02
    assert max(noise.std() for noise in noises) == pytest.approx(min(noise.std() for noise in noises), rel=0.02)
