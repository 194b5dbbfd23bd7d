"""Cubes come back from their lattice as they went in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emres.volume.lattice import MOST_PER_SIDE, Lattice, cut


@given(count=st.integers(1, 700), side=st.sampled_from([4, 5]))
def test_every_cube_has_one_place(count: int, side: int) -> None:
    lattice = Lattice(count, side)
    cubes = np.arange(count, dtype=np.float32)[:, None, None, None] + np.zeros((side,) * 3, dtype=np.float32)
    slabs = [lattice.joined(cubes[start:stop]) for start, stop in lattice.layers()]
    assert np.concatenate(slabs).shape == lattice.shape
    back = [
        lattice.parted(slab, stop - start) for slab, (start, stop) in zip(slabs, lattice.layers(), strict=True)
    ]  # fmt: skip
    np.testing.assert_array_equal(np.concatenate(back), cubes)


def test_a_layer_stays_small_however_many_cubes_there_are() -> None:
    lattice = Lattice(10**12, 16)
    assert lattice.shape[1:] == (MOST_PER_SIDE * 16,) * 2
    assert next(lattice.layers()) == (0, MOST_PER_SIDE**2)


@pytest.mark.parametrize("shape", [(8, 12, 4), (9, 13, 7)])
def test_a_cube_is_a_part_of_the_volume_and_what_is_no_whole_cube_is_left(shape: tuple[int, int, int]) -> None:
    volume = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    cubes = cut(volume, 4)
    assert len(cubes) == 2 * 3 * 1
    np.testing.assert_array_equal(cubes[4], volume[4:8, 4:8, 0:4])
