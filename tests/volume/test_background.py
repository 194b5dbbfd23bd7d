"""The noise beside a molecule: found among windows that fade, that hold more than noise, or hold nothing."""

from __future__ import annotations

import numpy as np
import pytest

from emres.volume.background import SIDES, background_power, clear_windows, trusted, typical_noise
from emres.volume.blocks import Box
from emres.volume.spectrum import CELL, NYQUIST, SHELLS

FALLING = np.linspace(2, 1, SHELLS)  # of noise
USED = slice(4, NYQUIST)


@pytest.fixture
def cells() -> np.ndarray:
    cells = np.zeros((16, 16, 16), dtype=bool)
    cells[7:10, 7:9, 6:10] = True
    return cells


def power_beside(density: np.ndarray, cells: np.ndarray) -> np.ndarray:
    return np.array(background_power(lambda box: density[box.slices], cells, Box((0, 0, 0), density.shape)))


def white(shape: tuple[int, int, int] = (128, 128, 128), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("side", SIDES)
def test_windows_hold_none_of_the_molecule_and_are_near(cells: np.ndarray, side: int) -> None:
    molecule = np.kron(cells, np.ones((CELL,) * 3)).astype(bool)
    windows = clear_windows(cells, Box((0, 0, 0), (123, 125, 127)), side)
    assert 0 < len(windows) <= SIDES[side]
    assert all(box.shape == (side,) * 3 and box.clipped((123, 125, 127)) == box for box in windows)
    assert not any(molecule[box.slices].any() for box in windows)
    assert all(molecule[box.grown(5 * CELL).clipped(molecule.shape).slices].any() for box in windows)


def test_a_tight_box_has_no_room() -> None:
    cells, room = np.ones((5, 5, 5), dtype=bool), Box((0, 0, 0), (40, 40, 40))
    assert clear_windows(cells, room, 16) == []
    assert background_power(lambda box: white()[box.slices], cells, room) == ()


@pytest.mark.parametrize("side", SIDES)
def test_windows_of_a_turned_map_are_turned(cells: np.ndarray, side: int) -> None:
    room = Box((5, 3, 1), (123, 125, 127))
    turned = Box((128 - 123, 3, 1), (128 - 5, 125, 127))
    upright = {box.start for box in clear_windows(cells, room, side)}
    assert {(128 - side - z, y, x) for z, y, x in upright} == {
        box.start for box in clear_windows(cells[::-1], turned, side)
    }
    assert all(box.shared(room) == box for box in clear_windows(cells, room, side))


def test_white_noise_is_found_whatever_the_molecule(cells: np.ndarray) -> None:
    molecule = np.kron(cells, np.ones((CELL,) * 3)).astype(np.float32)
    np.testing.assert_allclose(power_beside(2 * white() + 1000 * molecule, cells)[USED], 4, rtol=0.1)


def test_a_sphere_that_fades_the_noise_far_away_does_not_hide_it(cells: np.ndarray) -> None:
    z, y, x = np.indices((128,) * 3) - 64
    sphere = (z**2 + y**2 + x**2 < 44**2).astype(np.float32)
    np.testing.assert_allclose(power_beside(white() * sphere, cells)[USED], 1, rtol=0.2)


def test_windows_with_more_than_noise_are_outvoted() -> None:
    powers = np.random.default_rng(0).normal(FALLING, 0.1, (20, SHELLS))
    powers[:6, :8] *= 50  # a belt of detergent, at low frequencies
    powers[6:12] *= 0.1  # beyond the edge of a sphere
    np.testing.assert_allclose(typical_noise(powers), FALLING, rtol=0.1)


def test_noise_that_was_faded_is_not_trusted() -> None:
    inside = FALLING + np.where(np.arange(SHELLS) < 14, 30.0, 0.0)
    assert not any(trusted(tuple(0.2 * FALLING), tuple(inside)))
    assert trusted(tuple(0.9 * FALLING), tuple(inside)) == tuple(0.9 * FALLING)


def test_noise_stays_what_it_is_where_signal_reaches_the_finest_shells() -> None:
    outside = tuple(FALLING.tolist())
    assert trusted(outside, tuple(1.3 * FALLING)) == outside


def test_a_masked_map_has_no_noise_to_know() -> None:
    assert not any(trusted((0.0,) * SHELLS, tuple(FALLING)))
    assert not any(trusted(tuple(1e-3 * FALLING), tuple(FALLING)))
    assert trusted((), tuple(FALLING)) == ()
