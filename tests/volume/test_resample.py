"""Resampling as matrices: exact in Fourier space, linear on the way back, and any box of it alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from emres.volume.blocks import Box
from emres.volume.grid import Grid
from emres.volume.resample import (
    apply_matrices,
    carry,
    coverage,
    fourier_matrix,
    fourier_resample,
    linear_matrix,
    resampling_matrices,
    shift_matrix,
    support,
)

lengths = st.integers(1, 40)
steps = st.floats(0.3, 3.5)
offsets = st.floats(-5, 5)


class Waves:
    """A periodic signal of ``n`` voxels made of cosines up to a frequency, known everywhere."""

    def __init__(self, n: int, highest: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.n, self.k = n, np.arange(highest + 1)
        self.amplitude, self.phase = rng.normal(size=highest + 1), rng.uniform(0, 6, highest + 1)

    def __call__(self, position: np.ndarray) -> np.ndarray:
        angle = 2 * np.pi * np.multiply.outer(position, self.k) / self.n + self.phase
        return np.cos(angle) @ self.amplitude


@given(lengths, lengths, steps, offsets, st.integers(0, 99))
def test_fourier_is_exact_for_what_both_grids_can_hold(n: int, m: int, step: float, offset: float, seed: int) -> None:
    highest = int(np.ceil(n / 2 / max(step, 1))) - 1
    waves = Waves(n, max(highest, 0), seed)
    new = fourier_matrix(n, m, step, offset) @ waves(np.arange(n))
    np.testing.assert_allclose(new, waves(offset + step * np.arange(m)), atol=2e-5 * np.abs(waves.amplitude).sum())


@given(lengths, lengths, st.floats(1.01, 3.5), offsets, st.integers(0, 99))
def test_fourier_drops_what_a_coarser_grid_cannot_hold(n: int, m: int, step: float, offset: float, seed: int) -> None:
    too_fine = [k for k in range(1, (n + 1) // 2) if k > n / 2 / step + 1e-6]
    waves = Waves(n, max(too_fine, default=0), seed)
    waves.amplitude[: min(too_fine, default=1)] = 0
    np.testing.assert_allclose(fourier_matrix(n, m, step, offset) @ waves(np.arange(n)), 0, atol=2e-4)


@given(lengths, lengths, st.integers(0, 99))
def test_fourier_agrees_with_scipy(n: int, m: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=n)
    if m < n and m % 2 == 0:  # scipy counts the new Nyquist frequency, of which only a half is known, twice
        values = signal.resample(signal.resample(values, m - 1), n)
    np.testing.assert_allclose(fourier_matrix(n, m, n / m) @ values, signal.resample(values, m), atol=2e-5)


@pytest.mark.parametrize("matrix", [fourier_matrix, linear_matrix])
@given(n=lengths, m=lengths, step=steps, offset=offsets)
def test_constants_stay(matrix: object, n: int, m: int, step: float, offset: float) -> None:
    np.testing.assert_allclose(matrix(n, m, step, offset).sum(axis=1), 1, atol=1e-5)


@given(lengths, offsets)
def test_the_same_grid_again_is_the_identity(n: int, offset: float) -> None:
    np.testing.assert_allclose(fourier_matrix(n, n, 1.0), np.eye(n), atol=1e-6)
    np.testing.assert_array_equal(linear_matrix(n, n, 1.0), np.eye(n))


@given(lengths, lengths, steps, offsets, st.integers(0, 99))
def test_linear_is_linear_inside_and_constant_beyond(n: int, m: int, step: float, offset: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=n)
    expected = np.interp(offset + step * np.arange(m), np.arange(n), values)
    np.testing.assert_allclose(linear_matrix(n, m, step, offset) @ values, expected, atol=1e-5)


@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 9)] * 3), st.sets(st.integers(0, 2)))
def test_matrices_act_axis_by_axis(old: tuple[int, ...], new: tuple[int, ...], left_alone: set[int]) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=old).astype(np.float32)
    matrices = [rng.normal(size=(m, n)).astype(np.float32) for m, n in zip(new, old, strict=True)]
    used = [np.eye(n) if axis in left_alone else matrices[axis] for axis, n in enumerate(old)]
    expected = np.einsum("az,by,cx,zyx->abc", *used, values)
    given_ = tuple(None if axis in left_alone else matrices[axis] for axis in range(3))
    found = apply_matrices(values, given_)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (found.dtype, found.flags.c_contiguous) == (np.float32, True)


@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(-3, 3)] * 3))
def test_voxels_that_are_only_moved_keep_every_bit(
    old: tuple[int, ...], new: tuple[int, ...], by: tuple[int, ...]
) -> None:
    values = np.random.default_rng(0).normal(size=old).astype(np.float32)
    matrices = tuple(shift_matrix(n, m, k) for n, m, k in zip(old, new, by, strict=True))
    expected = np.einsum("az,by,cx,zyx->abc", *matrices, values)
    np.testing.assert_array_equal(apply_matrices(values, matrices), expected)


def test_whole_voxels_are_taken_not_multiplied() -> None:
    values = np.ones((4, 5, 6), dtype=np.float32)
    values[1, 2, 3] = np.nan  # times 0 it would be everywhere
    found = apply_matrices(values, (shift_matrix(4, 3, 1), shift_matrix(5, 7, -1), None))
    assert np.argwhere(np.isnan(found)).tolist() == [[0, 3, 3]]


def test_a_wave_in_space_stays_where_it_is() -> None:
    source = Grid((24, 30, 36), (1.3, 1.0, 0.9), origin=(5.0, -3.0, 40.0))
    target = Grid((13, 20, 15), (2.1, 1.4, 2.0), origin=(8.0, -1.5, 41.0))

    def wave(grid: Grid) -> np.ndarray:
        parts = [
            np.cos(2 * np.pi * 3 * (grid.coordinates()[dim] - start) / length + 0.4)
            for dim, start, length in zip("zyx", source.origin, source.extent, strict=True)
        ]
        return np.einsum("z,y,x->zyx", *parts)

    found = fourier_resample(wave(source).astype(np.float32), source, target)
    np.testing.assert_allclose(found, wave(target), atol=1e-5)


@st.composite
def parts(draw: st.DrawFn) -> tuple[Grid, Grid, Box]:
    shape, new = (draw(st.tuples(*[st.integers(2, 14)] * 3)) for _ in range(2))
    size = draw(st.tuples(*[st.floats(0.5, 2.5)] * 3))
    start = draw(st.tuples(*[st.integers(0, n - 1) for n in new]))
    stop = draw(st.tuples(*[st.integers(a + 1, n) for a, n in zip(start, new, strict=True)]))
    return Grid(shape, (1.0, 1.0, 1.0)), Grid(new, size, draw(st.tuples(*[offsets] * 3))), Box(start, stop)


@pytest.mark.parametrize("kind", ["fourier", "linear"])
@given(case=parts())
def test_a_box_carried_alone_is_that_part_of_the_whole(kind: str, case: tuple[Grid, Grid, Box]) -> None:
    source, target, box = case
    values = np.random.default_rng(1).normal(size=source.shape).astype(np.float32)
    matrices = resampling_matrices(source, target, kind)
    np.testing.assert_allclose(carry(values, matrices, box), apply_matrices(values, matrices)[box.slices], atol=1e-5)


@given(parts())
def test_a_box_reads_no_more_than_linear_interpolation_needs(case: tuple[Grid, Grid, Box]) -> None:
    source, target, box = case
    for axis, part in enumerate(support(resampling_matrices(source, target, "linear"), box)):
        first, last = ((box.start[axis], box.stop[axis] - 1)[k] * target.voxel_size[axis] for k in (0, 1))
        first, last = (np.clip(p + target.origin[axis], 0, source.shape[axis] - 1) for p in (first, last))
        assert part.start >= np.floor(first) - 1e-9
        assert part.stop <= np.ceil(last) + 1 + 1e-9


@given(parts(), st.integers(0, 99))
def test_coverage_is_exactly_what_interpolating_back_reads(case: tuple[Grid, Grid, Box], seed: int) -> None:
    source, target, _ = case
    mask = np.random.default_rng(seed).random(source.shape) < 0.02
    back = [matrix.astype(np.float64) for matrix in resampling_matrices(target, source, "linear")]
    read = np.zeros(target.shape, dtype=bool)
    for z, y, x in np.argwhere(mask):
        read |= np.einsum("z,y,x->zyx", back[0][z], back[1][y], back[2][x]) != 0
    needed = apply_matrices(mask.astype(np.float32), coverage(source, target)) > 0
    np.testing.assert_array_equal(needed, read)
