"""Grids and volumes: index <-> Å, and a DataArray that says where its voxels lie."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emres.errors import MapError, UsageError
from emres.volume.grid import Grid, as_shape, grid_of, make_volume

sizes = st.floats(0.2, 20)
places = st.floats(-500, 500)
grids = st.builds(
    Grid,
    st.tuples(*[st.integers(1, 30)] * 3),
    st.tuples(sizes, sizes, sizes),
    st.tuples(places, places, places),
)


def volume_on(grid: Grid) -> object:
    return make_volume(np.zeros(grid.shape, np.float32), grid)


@given(grids, st.tuples(places, places, places))
def test_index_to_angstrom_and_back(grid: Grid, index: tuple[float, float, float]) -> None:
    assert grid.to_index(grid.to_angstrom(index)) == pytest.approx(index, abs=1e-6)


@given(grids)
def test_coordinates_are_the_angstroms_of_the_indices(grid: Grid) -> None:
    last = grid.to_angstrom((grid.shape[0] - 1, grid.shape[1] - 1, grid.shape[2] - 1))
    for dim, first, end in zip("zyx", grid.origin, last, strict=True):
        assert grid.coordinates()[dim][0] == first
        assert grid.coordinates()[dim][-1] == pytest.approx(end)


@given(grids)
def test_extent_counts_whole_voxels(grid: Grid) -> None:
    assert grid.extent == tuple(n * size for n, size in zip(grid.shape, grid.voxel_size, strict=True))
    assert math.prod(grid.extent) == pytest.approx(grid.voxels * grid.mean_voxel_size**3)


@given(grids, places, st.sampled_from([0.3, 0.9, 1.2, 3.0]))
def test_grids_match_if_no_voxel_is_off_by_more_than_the_tolerance(grid: Grid, angle: float, off: float) -> None:
    # A drift of the voxel size and a shift of the origin add up at one end of the box.
    tolerance, (n, size, start) = 0.01, (grid.shape[1], grid.voxel_size[1], grid.origin[1])
    shift = off * tolerance * size * math.sin(angle)
    drift = off * tolerance * size / n * math.cos(angle)
    other = Grid(
        grid.shape,
        (grid.voxel_size[0], size + drift, grid.voxel_size[2]),
        (grid.origin[0], start + shift, grid.origin[2]),
    )
    worst = max(abs(shift), abs(shift + n * drift)) / size
    if abs(worst - tolerance) > 1e-6:
        assert grid.matches(other, tolerance) == (worst < tolerance)


@given(grids, sizes)
def test_a_resampled_grid_covers_the_box_with_less_than_a_voxel_to_spare(grid: Grid, voxel_size: float) -> None:
    new = grid.resampled(voxel_size)
    assert new.voxel_size == (voxel_size,) * 3
    assert new.origin == grid.origin
    for length, covered, n in zip(grid.extent, new.extent, new.shape, strict=True):
        assert covered >= length - 1e-5 * voxel_size
        assert n == 1 or covered - voxel_size < length


@given(grids, sizes)
def test_a_grid_about_the_middle_covers_the_box_evenly(grid: Grid, voxel_size: float) -> None:
    new = grid.resampled_evenly(voxel_size)
    assert new.voxel_size == (voxel_size,) * 3
    for k, (length, covered) in enumerate(zip(grid.extent, new.extent, strict=True)):
        before = grid.origin[k] - grid.voxel_size[k] / 2 - (new.origin[k] - voxel_size / 2)
        assert before == pytest.approx((covered - length) / 2, abs=1e-6 * max(covered, abs(grid.origin[k])))
        assert -1e-5 * voxel_size <= before <= voxel_size * (1 + 1e-5)


@given(grids, sizes, st.integers(0, 9))
def test_a_grid_about_the_middle_has_the_same_voxels_in_a_box_that_is_padded(grid: Grid, voxel_size, width) -> None:
    padded = Grid(as_shape(n + 2 * width for n in grid.shape), grid.voxel_size, grid.to_angstrom((-width,) * 3))
    one, other = grid.resampled_evenly(voxel_size), padded.resampled_evenly(voxel_size)
    for index in one.to_index(other.origin):
        assert index == pytest.approx(round(index), abs=1e-5 * (1 + max(map(abs, grid.origin)) / voxel_size))


@given(grids)
def test_a_volume_remembers_its_grid(grid: Grid) -> None:
    assert grid_of(volume_on(grid)).matches(grid, 1e-6)


@given(grids, st.data())
def test_a_slice_of_a_volume_knows_where_it_lies(grid: Grid, data: st.DataObject) -> None:
    # Two voxels at least are left along each axis: a single one has no step any more.
    steps = [data.draw(st.integers(1, 3)) for _ in range(3)]
    shape = [max(n, step + 2) for n, step in zip(grid.shape, steps, strict=True)]
    grid = Grid((shape[0], shape[1], shape[2]), grid.voxel_size, grid.origin)
    starts = [data.draw(st.integers(0, n - step - 1)) for n, step in zip(shape, steps, strict=True)]
    part = volume_on(grid)[tuple(slice(a, None, step) for a, step in zip(starts, steps, strict=True))]
    found = grid_of(part)
    expected = Grid(
        part.shape,
        tuple(size * step for size, step in zip(grid.voxel_size, steps, strict=True)),
        grid.to_angstrom(tuple(starts)),
    )
    assert found.matches(expected, 1e-6)


def test_volumes_carry_units_and_kind() -> None:
    grid = Grid((2, 3, 4), (1.0, 2.0, 3.0))
    values = np.zeros(grid.shape, np.float32)
    resolution = make_volume(values, grid, emdb_id="EMD-1", kind="local_resolution/a@1", model="a@1")
    assert (resolution.name, resolution.attrs["units"]) == ("local_resolution", "angstrom")
    assert (resolution.attrs["emdb_id"], resolution.attrs["model"]) == ("EMD-1", "a@1")
    assert make_volume(values, grid).attrs["units"] == "density"
    assert {volume.coords[dim].attrs["units"] for volume in [resolution] for dim in "zyx"} == {"angstrom"}


def test_an_array_of_another_shape_is_refused() -> None:
    with pytest.raises(UsageError, match="does not fit its grid"):
        make_volume(np.zeros((3, 3, 3)), Grid((3, 3, 4), (1.0, 1.0, 1.0)))


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda volume: volume.transpose("x", "y", "z"),
        lambda volume: volume.drop_vars("y"),
        lambda volume: volume[0],
        lambda volume: volume[::-1],
        lambda volume: volume[[0, 1, 3]],
        lambda volume: volume.assign_coords(x=np.zeros(4)),
        lambda volume: volume.assign_coords(z=[0.0, 1.0, np.nan, 3.0]),
    ],
)
def test_what_is_no_volume_is_refused(spoilt: object) -> None:
    with pytest.raises(UsageError):
        grid_of(spoilt(volume_on(Grid((4, 4, 4), (1.0, 1.0, 1.0)))))


@pytest.mark.parametrize("size", [0.0, -1.0, math.nan, math.inf])
def test_a_grid_without_a_voxel_size_is_refused(size: float) -> None:
    with pytest.raises(MapError, match="--voxel-size"):
        Grid((4, 4, 4), (1.0, size, 1.0))


def test_a_grid_without_voxels_is_refused() -> None:
    with pytest.raises(UsageError, match="no voxels"):
        Grid((4, 0, 4), (1.0, 1.0, 1.0))
