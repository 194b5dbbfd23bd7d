"""Pyramids: block means, on grids that say where the means lie."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emres.volume.grid import Grid
from emres.volume.pyramid import MemoryPyramid, block_mean, pyramid_grids

shapes = st.tuples(*[st.integers(1, 13)] * 3)


@given(shapes, st.integers(1, 5))
def test_every_voxel_is_the_mean_of_its_cube(shape: tuple[int, int, int], factor: int) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    means = block_mean(values, factor)
    assert means.shape == tuple(-(-n // factor) for n in shape)
    assert means.dtype == np.float32
    for index in np.ndindex(means.shape):
        cube = values[tuple(slice(i * factor, (i + 1) * factor) for i in index)]
        # Along each axis a rest is averaged over what is there.
        assert means[index] == pytest.approx(cube.mean(), abs=1e-6)


@given(st.tuples(*[st.integers(1, 80)] * 3))
def test_every_level_lies_on_the_centres_of_what_it_averages(shape: tuple[int, int, int]) -> None:
    grids = pyramid_grids(Grid(shape, (1.0, 1.5, 2.0), origin=(-7.0, 0.0, 12.0)))
    for finer, coarser in itertools.pairwise(grids):
        for dim, n in zip("zyx", finer.shape, strict=True):
            fine, coarse = finer.coordinates()[dim], coarser.coordinates()[dim]
            pairs = n // 2
            np.testing.assert_allclose(coarse[:pairs], (fine[0 : 2 * pairs : 2] + fine[1 : 2 * pairs : 2]) / 2)
            assert len(coarse) == -(-n // 2)


@pytest.mark.parametrize(("side", "levels"), [(8, 1), (15, 1), (16, 2), (30, 2), (31, 3), (64, 3), (400, 3)])
def test_small_volumes_have_fewer_levels(side: int, levels: int) -> None:
    assert len(pyramid_grids(Grid((4, side, 4), (1.0, 1.0, 1.0)))) == levels


def test_a_pyramid_in_memory_has_the_means_on_the_grids() -> None:
    values = np.random.default_rng(0).normal(size=(40, 33, 20)).astype(np.float32)
    pyramid = MemoryPyramid(values, Grid(values.shape, (1.0, 1.0, 1.0)))
    assert pyramid.levels == 3
    assert pyramid.array(0) is values
    np.testing.assert_array_equal(pyramid.array(2), block_mean(block_mean(values)))
    for level in range(pyramid.levels):
        assert pyramid.array(level).shape == pyramid.grid(level).shape
    assert pyramid.array(1) is pyramid.array(1)
