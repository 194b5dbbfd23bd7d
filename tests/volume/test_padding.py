"""What a box was padded with is found, and nothing else is taken for it."""

from __future__ import annotations

import numpy as np
import pytest

from emres.volume.blocks import Box
from emres.volume.grid import Grid
from emres.volume.padding import carried, held_box

SHAPE = (20, 24, 28)


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)


def radius(values: np.ndarray) -> np.ndarray:
    z, y, x = (np.linspace(-1, 1, n) * (n / max(values.shape)) for n in values.shape)
    return np.asarray(np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2))


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_what_was_put_round_a_map_is_left_out(noise: np.ndarray, value: float) -> None:
    padded = np.pad(noise, [(3, 1), (0, 2), (5, 5)], constant_values=value)
    assert held_box(padded) == Box((3, 0, 5), (23, 24, 33))


def test_a_map_to_its_faces_is_all_held(noise: np.ndarray) -> None:
    assert held_box(noise) is None
    assert held_box(np.zeros(SHAPE)) is None


def test_what_a_mask_took_is_no_padding() -> None:
    cube = np.random.default_rng(3).normal(size=(30, 30, 30)) * (np.indices((30, 30, 30)).sum(0) < 35)
    assert held_box(np.pad(cube, 4)) is None


def test_a_particles_sphere_may_be_padded() -> None:
    """What lies beyond it in its own box is exact, too."""
    sphere = np.random.default_rng(4).normal(size=(30, 30, 30))
    sphere *= radius(sphere) <= 1
    assert held_box(np.pad(sphere, 6)) == Box((7, 7, 7), (35, 35, 35))  # no voxel of a face has its centre in it


def test_a_box_comes_back_from_the_grid_it_was_carried_to() -> None:
    fine = Grid((40, 40, 40), (1.0, 1.2, 1.5), (5.0, -3.0, 0.0))
    coarse = Grid((10, 10, 10), (4.0, 4.8, 6.0), (6.5, -1.2, 2.25))  # means of 4^3 voxels
    box = Box((1, 2, 3), (9, 8, 10))
    assert carried(box, coarse, fine) == Box((4, 8, 12), (36, 32, 40))
    assert carried(carried(box, coarse, fine), fine, coarse) == box
