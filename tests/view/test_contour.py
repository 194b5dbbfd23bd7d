from __future__ import annotations

import numpy as np
import pytest

from emres.errors import MapError
from emres.view.contour import automatic_level
from tests.view.test_surface import GRID, RADIUS, distances


def molecule(noise: float = 0.1, offset: float = 0.0) -> np.ndarray:
    """A ball of density 1 with a soft edge, in noise."""
    inside = np.clip((RADIUS + 1.5 - distances()) / 3, 0, 1)
    return (inside + offset + noise * np.random.default_rng(3).normal(size=GRID.shape)).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.15])
def test_the_level_lies_between_solvent_and_molecule(noise: float) -> None:
    assert 0.25 < automatic_level(molecule(noise), GRID.voxel_size) < 0.75


def test_the_level_moves_with_offset_and_gain() -> None:
    plain = automatic_level(molecule(), GRID.voxel_size)
    assert automatic_level(200 * molecule(), GRID.voxel_size) == pytest.approx(200 * plain, rel=1e-3)
    assert automatic_level(molecule(offset=-3), GRID.voxel_size) == pytest.approx(plain - 3, abs=0.15)


def test_the_filling_of_a_masked_map_does_not_count() -> None:
    """With it the level would part the filling from the molecule, and the surface would be that of the mask."""
    rough = 2 + np.random.default_rng(4).choice([0, 1.0], size=GRID.shape)
    masked = np.where(distances() < RADIUS, rough, 0).astype(np.float32)
    assert 2 < automatic_level(masked, GRID.voxel_size) < 3


def test_a_map_without_positive_density_has_a_level_and_a_constant_one_has_none() -> None:
    assert -5 < automatic_level(molecule() - 5, GRID.voxel_size) < -4
    with pytest.raises(MapError, match="no surface"):
        automatic_level(np.ones((8, 8, 8), np.float32), (1.0, 1.0, 1.0))


def test_fine_voxels_are_averaged_for_the_mask_only() -> None:
    fine = np.repeat(np.repeat(np.repeat(molecule(0.0), 2, 0), 2, 1), 2, 2)[:-1, :, 1:]
    halves = tuple(size / 2 for size in GRID.voxel_size)
    assert 0.25 < automatic_level(fine, (halves[0], halves[1], halves[2])) < 0.75


def test_loud_solvent_stays_below_the_level() -> None:
    loud = molecule(noise=0.45)
    level = automatic_level(loud, GRID.voxel_size)
    assert (loud[distances() > RADIUS + 4] > level).mean() < 0.01
    assert (loud[distances() < RADIUS - 2] > level).mean() > 0.25


def test_without_solvent_nothing_is_lost_to_it() -> None:
    """A crystal fills its box: what the mask leaves out is not quieter than what it holds."""
    waves = np.sin(np.indices((40, 40, 40)) * 0.8).prod(axis=0)
    values = (waves + 0.1 * np.random.default_rng(5).normal(size=waves.shape)).astype(np.float32)
    assert (values > automatic_level(values, (1.0, 1.0, 1.0))).mean() > 0.02
