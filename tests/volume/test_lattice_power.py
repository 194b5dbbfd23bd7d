"""The power of windows on a lattice: window by window the same, whatever their width, place and number."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from emres.volume.blocks import Box
from emres.volume.lattice_power import lattice_power
from emres.volume.resample import read_box
from emres.volume.window_power import frequencies, window_power

VOLUME = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(40, 44, 60)), 0.8).astype(np.float32)


def read(box: Box) -> np.ndarray:
    return np.asarray(read_box(VOLUME, box))


@pytest.mark.parametrize(("width", "step"), [(8, 2), (12, 3), (16, 4), (24, 7)])
def test_windows_of_a_lattice_are_windows(width: int, step: int) -> None:
    near = np.random.default_rng(1).random((7, 5, 6)) < 0.4
    start, shells = (-4, 8, 0), tuple(frequencies(width).tolist())
    powers = lattice_power(read, near, start, step, width, shells)
    places = np.argwhere(near)
    corners = places * step + np.array(start) - width // 2
    windows = np.stack([read(Box(tuple(c), tuple(c + width))) for c in corners])
    expected = window_power(windows, width)
    np.testing.assert_allclose(powers[:, *places.T].T, expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_fewer_shells_are_the_first_of_all() -> None:
    near, shells = np.ones((2, 2, 2), dtype=bool), tuple(frequencies(16).tolist())
    all_of_them = lattice_power(read, near, (8, 8, 8), 4, 16, shells)
    np.testing.assert_allclose(lattice_power(read, near, (8, 8, 8), 4, 16, shells[:5]), all_of_them[:5], rtol=1e-4)


def test_nothing_is_read_where_nothing_is_asked_for() -> None:
    def refuse(box: Box) -> np.ndarray:
        raise AssertionError(box)

    powers = lattice_power(refuse, np.zeros((3, 3, 3), dtype=bool), (0, 0, 0), 2, 8, tuple(frequencies(8).tolist()))
    assert not powers.any()
