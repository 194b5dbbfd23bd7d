from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emres.archive.mrc_write import write_mrc
from emres.errors import MapError, UsageError
from emres.run.masks import mask_level, mask_slabs, slabs
from emres.volume.grid import Grid, as_shape, make_volume
from emres.volume.masking import without_dust
from emres.volume.pyramid import MemoryPyramid
from tests.run.conftest import GRID, toy_density

SOURCE = MemoryPyramid(toy_density(), GRID)


def whole(pairs, grid: Grid = GRID) -> np.ndarray:
    """Put the boxes together, and check that they cover the grid once."""
    found, covered = np.zeros(grid.shape, dtype=bool), np.zeros(grid.shape, dtype=int)
    for box, values in pairs:
        found[box.slices] = values
        covered[box.slices] += 1
    assert (covered == 1).all()
    return found


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("thickness", [1, 7, 64, 1000])
def test_slabs_cover_a_grid_once(axis: int, thickness: int) -> None:
    grid = Grid((20, 13, 17), (1.0, 1.0, 1.0))
    whole(((box, np.ones(box.shape, dtype=bool)) for box in slabs(grid, axis, thickness)), grid)


def test_none_is_everywhere() -> None:
    assert whole(mask_slabs(SOURCE, "none")).all()


def test_auto_finds_the_molecule_and_little_else() -> None:
    found, molecule = whole(mask_slabs(SOURCE, "auto")), toy_density() > 0.5
    assert found[molecule].mean() > 0.95
    assert found.sum() < 4 * molecule.sum()


def test_contour_holds_every_voxel_above_the_level_but_dust() -> None:
    found = whole(mask_slabs(SOURCE, "contour", 1.0))
    assert found[without_dust(toy_density() >= 1.0)].all()
    assert found.mean() < 0.4


def test_contour_without_a_level_or_beyond_all_density_is_told() -> None:
    with pytest.raises(UsageError, match="no recommended contour level"):
        list(mask_slabs(SOURCE, "contour"))
    with pytest.raises(MapError, match="never reaches its contour level"):
        list(mask_slabs(SOURCE, "contour", 1e9))


def test_a_file_counts_where_it_is_above_a_half(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(GRID.shape).astype(np.float32)
    path = write_mrc(tmp_path / "mask.mrc", make_volume(values, GRID))
    assert np.array_equal(whole(mask_slabs(SOURCE, str(path))), values > 0.5)


@pytest.mark.parametrize(("voxel_size", "level"), [(0.4, 2), (0.8, 1), (1.4, 1), (1.6, 0), (6.0, 0)])
def test_the_mask_is_found_where_voxels_are_a_few_angstrom(voxel_size: float, level: int) -> None:
    source = MemoryPyramid(np.zeros((64, 64, 64), dtype=np.float32), Grid((64, 64, 64), (voxel_size,) * 3))
    assert mask_level(source) == level


def test_auto_is_the_same_from_memory_and_from_the_store(entry) -> None:
    assert np.array_equal(whole(mask_slabs(SOURCE, "auto")), whole(mask_slabs(entry.pyramid(), "auto")))


def test_auto_finds_the_same_molecule_in_a_padded_box() -> None:
    """Of an odd number of voxels: the coarser ones at its far faces hold some of the padding."""
    inner, width = np.asarray(toy_density()[:71, :59, :65]), 12
    tight, wide = (
        whole(mask_slabs(MemoryPyramid(density, grid), "auto"), grid)
        for density in (inner, np.pad(inner, width, constant_values=-0.2))
        for grid in [Grid(as_shape(density.shape), (1.2, 1.2, 1.2))]
    )
    np.testing.assert_array_equal(wide[(slice(width, -width),) * 3], tight)
    assert wide.sum() == tight.sum()
