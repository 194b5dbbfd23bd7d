"""What lies round a map in its box is found, and nothing else is taken for it."""

from __future__ import annotations

import numpy as np
import pytest

from emres.volume.blocks import Box
from emres.volume.grid import Grid, as_shape
from emres.volume.padding import Padding, held_boxes, padding_of
from emres.volume.pyramid import MemoryPyramid

SHAPE = (20, 25, 28)
REACH = 9


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)


@pytest.fixture
def masked() -> np.ndarray:
    """A piece of noise that ends where one face of its box does, as of a molecule that was cut."""
    cube = np.random.default_rng(3).normal(size=(30, 30, 30)) * (np.indices((30, 30, 30)).sum(0) < 35)
    return np.asarray(np.pad(cube, ((0, 4), (5, 4), (4, 6))), dtype=np.float32)


def pyramid(values: np.ndarray, size: float = 1.0, origin: float = 0.0) -> MemoryPyramid:
    return MemoryPyramid(values, Grid(as_shape(values.shape), (size,) * 3, (origin,) * 3))


def radius(values: np.ndarray) -> np.ndarray:
    z, y, x = (np.linspace(-1, 1, n) * (n / max(values.shape)) for n in values.shape)
    return np.asarray(np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2))


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_what_was_put_round_a_map_is_left_out_to_the_voxel(noise: np.ndarray, value: float) -> None:
    padded = np.pad(noise, [(3, 1), (0, 2), (5, 7)], constant_values=value)
    assert padding_of(pyramid(padded)) == Padding(Box((3, 0, 5), (23, 25, 33)), masked=False)


def test_a_map_to_its_faces_is_all_held(noise: np.ndarray) -> None:
    assert padding_of(pyramid(noise)) is None
    assert padding_of(pyramid(np.zeros(SHAPE, dtype=np.float32))) is None


def test_what_a_mask_took_is_no_padding(masked: np.ndarray) -> None:
    assert padding_of(pyramid(masked)) == Padding(Box((0, 5, 4), (30, 35, 34)), masked=True)


def test_a_particles_sphere_may_be_padded() -> None:
    """What lies beyond it in its own box is exact, too."""
    sphere = np.random.default_rng(4).normal(size=(30, 30, 30))
    sphere *= radius(sphere) <= 1
    held = Box((7, 7, 7), (35, 35, 35))  # no voxel of a face has its centre in it
    assert padding_of(pyramid(np.pad(sphere, 6))) == Padding(held, masked=False)


@pytest.mark.parametrize("size", [1.0, 1.3, 0.8])
def test_a_map_is_in_the_same_voxels_whatever_its_box_was_padded_to(noise: np.ndarray, size: float) -> None:
    width = 7
    tight, padded = pyramid(noise, size), pyramid(np.pad(noise, width), size, origin=-width * size)
    grids = [source.grid().resampled_evenly(1.0) for source in (tight, padded)]
    one, other = (held_boxes(source, grid, REACH) for source, grid in zip((tight, padded), grids, strict=True))
    assert one == (Box((0, 0, 0), SHAPE), Box((0, 0, 0), grids[0].shape))
    assert other[0] == one[0].moved((width,) * 3)
    assert grids[1].part(other[1]).matches(grids[0])


def test_of_a_masked_map_there_is_nothing_beyond_the_faces_but_where_it_is_cut(masked: np.ndarray) -> None:
    source = pyramid(masked)
    z, y, x = masked.shape
    of_map, of_working = held_boxes(source, source.grid(), REACH)
    assert of_map == Box((0, 0, 0), (z, y, x))
    assert of_working == Box((0, -REACH, -REACH), (z + REACH, y + REACH, x + REACH))
