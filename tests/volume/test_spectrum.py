"""Shell powers of white noise, of waves and of filtered maps, and windows that lie where they should."""

from __future__ import annotations

import numpy as np
import pytest

from emres.volume.blocks import Box
from emres.volume.spectrum import (
    CELL,
    NYQUIST,
    SHELLS,
    SIDE,
    Spectra,
    mean_power,
    molecule_windows,
    shell_counts,
    thinned,
)


def noise(seed: int, *, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).normal(size=(SIDE,) * 3)).astype(np.float32)


def test_white_noise_has_its_variance_in_every_shell() -> None:
    power = mean_power([noise(k, scale=2.0) for k in range(20)])
    np.testing.assert_allclose(power[3:22], 4.0, rtol=0.1)


def test_a_wave_lies_in_the_shell_of_its_frequency() -> None:
    wave = np.cos(2 * np.pi * 5 * np.arange(SIDE) / SIDE)
    power = np.array(mean_power([np.broadcast_to(wave, (SIDE,) * 3)])) * shell_counts()
    assert power.argmax() == 5
    assert power[4:7].sum() > 0.99 * power.sum()
    assert power.sum() / SIDE**3 == pytest.approx(0.5, rel=0.01)


def test_a_mean_density_shows_at_the_lowest_frequencies_alone() -> None:
    np.testing.assert_allclose(mean_power([noise(0) + 7])[3:], mean_power([noise(0)])[3:], rtol=1e-3)


def test_no_window_has_no_power() -> None:
    assert mean_power([]) == ()


def test_the_mean_square_is_that_of_the_density() -> None:
    spectra = Spectra(1.5, mean_power(noise(k) + 1 for k in range(20)))
    assert spectra.mean_square == pytest.approx(2, rel=0.25)  # the taper sees the mean alike everywhere, noise not


def test_spectra_follow_what_is_done_to_the_map() -> None:
    one = Spectra(1.5, (2.0,) * SHELLS, (1.0,) * SHELLS)
    gain = np.linspace(1, 0, SHELLS)
    np.testing.assert_allclose(one.filtered(gain).inside, 2 * gain**2)
    np.testing.assert_allclose(one.scaled(3).outside, 9)
    np.testing.assert_allclose(one.with_noise(0.5).inside, 2.5)
    assert not any(one.masked().outside)
    assert one.masked().inside == one.inside
    assert one.frequency[NYQUIST] == pytest.approx(1 / (2 * 1.5))


def test_without_room_beside_the_molecule_nothing_is_said_of_it() -> None:
    spectra = Spectra(1.0, (1.0,) * SHELLS)
    assert spectra.filtered(np.ones(SHELLS)).outside == spectra.with_noise(1.0).outside == ()


@pytest.fixture
def cells() -> np.ndarray:
    cells = np.zeros((16, 16, 16), dtype=bool)
    cells[7:10, 7:9, 6:10] = True
    return cells


def test_windows_in_a_molecule_hold_some_of_it(cells: np.ndarray) -> None:
    molecule = np.kron(cells, np.ones((CELL,) * 3)).astype(bool)
    windows = molecule_windows(cells, Box((0, 0, 0), molecule.shape))
    assert len(windows) == cells.sum()
    assert all(molecule[box.slices].any() for box in windows)
    assert all(box.shape == (SIDE,) * 3 for box in windows)


def test_windows_stay_in_a_volume_whose_sides_are_no_multiples(cells: np.ndarray) -> None:
    room = Box((3, 0, 40), (123, 125, 127))
    assert all(box.shared(room) == box for box in molecule_windows(cells, room))


@pytest.mark.parametrize("most", [10, 30, 96, 500])
def test_thinning_leaves_a_lattice_that_favours_no_axis(most: int) -> None:
    ball = np.argwhere(np.square(np.indices((13, 13, 13)) - 6).sum(axis=0) < 37)
    chosen = thinned(ball, most)
    assert most / 3 < len(chosen) <= most
    turned = chosen[:, [1, 2, 0]]
    assert {*map(tuple, turned.tolist())} == {*map(tuple, chosen.tolist())}


@pytest.mark.parametrize("size", [(9, 8, 11), (6, 6, 6)])
def test_thinning_favours_no_end(size: tuple[int, int, int]) -> None:
    whole = np.argwhere(np.ones(size, dtype=bool))
    kept = np.zeros(size, dtype=bool)
    kept[tuple(thinned(whole, 60).T)] = True
    np.testing.assert_array_equal(kept, kept[::-1, ::-1, ::-1])
    np.testing.assert_array_equal(kept, kept[:, ::-1])


def test_few_are_not_thinned() -> None:
    line = np.array([[0, 0, k] for k in range(40)])
    np.testing.assert_array_equal(thinned(line, 40), line)
    assert 0 < len(thinned(line, 7)) <= 7


def test_smaller_windows_say_the_same() -> None:
    power = [mean_power(noise(k, scale=2.0)[:side, :side, :side] for k in range(40)) for side in (16, 24)]
    np.testing.assert_allclose(np.array(power)[:, 4:22], 4.0, rtol=0.1)


def test_a_volume_smaller_than_a_window_has_one_that_reaches_beyond_all_faces() -> None:
    windows = molecule_windows(np.ones((2, 2, 2), dtype=bool), Box((0, 0, 0), (16, 16, 16)))
    assert {*windows} == {Box((-16, -16, -16), (32, 32, 32))}
