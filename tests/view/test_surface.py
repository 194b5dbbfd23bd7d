from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from emres.errors import MapError, UsageError
from emres.view.surface import Surface, surface
from emres.volume.grid import Grid, grid_of, make_volume

GRID = Grid((40, 48, 56), (1.5, 1.2, 1.0), origin=(-20.0, 5.0, 100.0))
CENTRE = np.array(GRID.to_angstrom((20, 24, 28)))
RADIUS = 18.0


def distances(grid: Grid = GRID, centre=CENTRE) -> np.ndarray:
    axes = np.meshgrid(*grid.coordinates().values(), indexing="ij")
    return np.sqrt(sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)))


def ball(grid: Grid = GRID, centre=CENTRE, radius: float = RADIUS) -> xr.DataArray:
    """Density that falls with the distance, and is 0 at the radius."""
    return make_volume((radius - distances(grid, centre)).astype(np.float32), grid)


def true_resolution(positions: np.ndarray) -> np.ndarray:
    """A resolution that changes along z: 3 to 7 Å over the ball."""
    return 5 + 2 * (positions[..., 0] - CENTRE[0]) / RADIUS


def resolution_map(mask_radius: float, background: float, grid: Grid = GRID) -> xr.DataArray:
    values = true_resolution(np.stack(np.meshgrid(*grid.coordinates().values(), indexing="ij"), -1))
    inside = distances(grid) < mask_radius
    return make_volume(np.where(inside, values, background).astype(np.float32), grid, kind="local_resolution/t@1")


def enclosed_volume(found: Surface) -> float:
    """Of a closed surface whose faces are counter-clockwise from outside, in x, y, z."""
    a, b, c = (found.vertices[found.faces[:, k], ::-1].astype(float) - CENTRE[::-1] for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def edges_without_partner(found: Surface) -> int:
    directed = np.concatenate([found.faces[:, [i, j]] for i, j in ((0, 1), (1, 2), (2, 0))]).astype(np.int64)
    forth, back = directed @ (len(found.vertices), 1), directed @ (1, len(found.vertices))
    return int((~np.isin(forth, back)).sum())


def test_a_sphere_lies_where_it_should_in_angstrom_and_is_closed() -> None:
    found = surface(ball(), 0.0)
    away = found.vertices - CENTRE
    assert np.abs(np.linalg.norm(away, axis=1) - RADIUS).max() < 0.03
    assert enclosed_volume(found) == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)
    assert edges_without_partner(found) == 0
    assert (np.sum(away * found.normals, axis=1) / RADIUS).min() > 0.995
    assert (found.vertices.dtype, found.faces.dtype, found.normals.dtype) == (np.float32, np.int32, np.float32)
    assert np.isnan(found.resolution).all()


@pytest.mark.parametrize("background", [0.0, 100.0, np.nan])
@pytest.mark.parametrize("mask_radius", [RADIUS - 4.0, RADIUS - 1.3, RADIUS, RADIUS + 0.4, RADIUS + 5])
def test_the_background_never_bleeds_into_the_colours(mask_radius: float, background: float) -> None:
    """Every vertex has the resolution of the molecule there, wherever the mask ends, whatever lies outside it."""
    found = surface(ball(), 0.0, resolution_map(mask_radius, background))
    # The answer is that of a voxel at most so far away: to the mask, and across a cell.
    tolerance = 2 / RADIUS * (max(RADIUS - mask_radius, 0) + np.linalg.norm(GRID.voxel_size))
    assert np.abs(found.resolution - true_resolution(found.vertices)).max() < tolerance


def test_inside_the_mask_colours_are_interpolated() -> None:
    found = surface(ball(), 0.0, resolution_map(RADIUS + 3, 0.0))
    assert np.abs(found.resolution - true_resolution(found.vertices)).max() < 1e-3


def test_far_from_the_mask_nothing_is_determined() -> None:
    found = surface(ball(), 0.0, resolution_map(RADIUS - 9, 0.0))
    assert np.isnan(found.resolution).all()
    nothing = surface(ball(), 0.0, resolution_map(RADIUS, 0.0) * 0)
    assert np.isnan(nothing.resolution).all()


def test_the_resolution_may_lie_on_a_coarser_grid_or_one_that_is_smaller() -> None:
    coarse = Grid((20, 24, 28), (3.0, 2.4, 2.0), origin=GRID.to_angstrom((0.5, 0.5, 0.5)))
    found = surface(ball(), 0.0, resolution_map(RADIUS, 0.0, coarse))
    assert np.abs(found.resolution - true_resolution(found.vertices)).max() < 0.6
    crop = resolution_map(RADIUS + 2, 0.0).isel(z=slice(0, 20))
    half = surface(ball(), 0.0, crop)
    far = half.vertices[:, 0] > CENTRE[0] + 8 * 1.5
    assert np.isnan(half.resolution[far]).all()
    near = half.vertices[:, 0] < CENTRE[0] - 1.5
    np.testing.assert_allclose(half.resolution[near], true_resolution(half.vertices[near]), atol=1e-3)


def test_a_surface_keeps_to_its_number_of_faces() -> None:
    whole = surface(ball(), 0.0)
    few = surface(ball(), 0.0, most_faces=len(whole.faces) // 5)
    assert len(few.faces) <= len(whole.faces) // 5
    assert few.voxel_size[0] > whole.voxel_size[0]
    assert enclosed_volume(few) == pytest.approx(enclosed_volume(whole), rel=0.05)
    assert len(surface(ball(), 0.0, step=2).faces) < len(whole.faces) / 3


def test_dust_is_left_out_and_a_second_molecule_is_not() -> None:
    volume = ball(radius=12.0)
    dusty = volume.copy()
    dusty.values[2, 2, 2:4] = 1.0
    assert len(surface(dusty, 0.0).faces) == len(surface(volume, 0.0).faces)
    assert len(surface(dusty, 0.0, dust=0.0).faces) > len(surface(volume, 0.0).faces)
    second = ball(centre=CENTRE - np.array([18.0, 18.0, 18.0]), radius=5.0)
    assert len(surface(np.maximum(volume, second), 0.0).faces) > 1.1 * len(surface(volume, 0.0).faces)


def test_a_molecule_cut_by_the_box_has_a_closed_surface() -> None:
    cut = surface(ball().isel(z=slice(20, None)), 0.0)
    assert edges_without_partner(cut) == 0
    assert enclosed_volume(cut) == pytest.approx(2 / 3 * np.pi * RADIUS**3, rel=0.06)


def test_a_lazy_map_is_read_in_slabs_and_averaged_to_what_fits() -> None:
    import dask.array as da

    read: list[tuple[int, ...]] = []

    def counted(block: np.ndarray) -> np.ndarray:
        read.append(block.shape)
        return block

    fine = Grid((160, 96, 112), (0.375, 0.6, 0.5), GRID.origin)
    values = ball(fine).values
    lazy = da.from_array(values, chunks=32).map_blocks(counted, dtype="f4", meta=np.empty((0,) * 3))
    found = surface(make_volume(lazy, fine), 0.0, most_voxels=fine.voxels // 10)
    assert sum(np.prod(shape) for shape in read) < 2 * fine.voxels
    assert found.voxel_size == pytest.approx(tuple(3 * size for size in fine.voxel_size))
    assert np.abs(np.linalg.norm(found.vertices - CENTRE, axis=1) - RADIUS).max() < 0.4


@pytest.mark.parametrize("shape", [(1, 9, 9), (2, 2, 2), (30, 1, 5)])
def test_thin_maps_have_a_surface(shape: tuple[int, int, int]) -> None:
    values = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    found = surface(make_volume(values, Grid(shape, (1.0,) * 3)), float(values.mean()))
    assert len(found.faces) >= 4


@pytest.mark.parametrize("level", [-1000.0, 18.1, np.nan])
def test_a_level_that_the_map_never_crosses_is_refused(level: float) -> None:
    with pytest.raises(MapError, match=r"no surface.*expected between"):
        surface(ball(), level)


def test_a_step_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="step"):
        surface(ball(), 0.0, step=0)
    assert grid_of(ball()).matches(GRID)
