"""B factors vary smoothly over a molecule, and as the recipe says."""

from __future__ import annotations

import numpy as np
import pytest

from emres.simulate.atoms import Atoms
from emres.simulate.b_factors import local_b_factors, moving, smooth_field, swing
from emres.simulate.recipe import Motion

STILL = Motion(deposited=0.0, radial=0.0, field=0.0)


def test_the_field_is_smooth_and_of_unit_variance(globule: Atoms) -> None:
    far = np.random.default_rng(1).uniform(-300, 300, size=(4000, 3))
    field = smooth_field(far, 30.0, np.random.default_rng(4), waves=200)
    assert field.std() == pytest.approx(1, abs=0.1)
    field = smooth_field(globule.positions, 30.0, np.random.default_rng(4))
    distance = np.linalg.norm(globule.positions[:, None] - globule.positions[None], axis=2)
    difference = np.abs(field[:, None] - field[None])
    near, apart = (distance > 0) & (distance < 3), distance > 15
    assert difference[near].mean() < 0.4 * difference[apart].mean()


@pytest.mark.parametrize(
    ("motion", "low", "high"),
    [
        (Motion(deposited=2.0, radial=0.0, field=0.0), -32, 32),  # 10-40 in the model
        (Motion(deposited=0.0, radial=50.0, field=0.0), 0, 50),
        (Motion(deposited=0.0, radial=0.0, field=0.0, domains=1, domain_b=300.0), 0, 300),
        (STILL, 0, 0),
    ],
)
def test_each_part_adds_what_it_says(globule: Atoms, motion: Motion, low: float, high: float) -> None:
    b_factors = local_b_factors(globule, motion, np.random.default_rng(0))
    assert low - 1 <= b_factors.min() <= low + 14
    assert high - 14 <= b_factors.max() <= high + 1


def test_a_domain_swings_about_a_plane_and_more_the_further_out(globule: Atoms) -> None:
    offset = globule.positions - globule.positions.mean(axis=0)
    share = swing(offset, np.random.default_rng(3))
    assert 0.5 < (share == 0).mean() < 0.9
    still, moves = offset[share == 0], offset[share > 0.5]
    direction = moves.mean(axis=0) / np.linalg.norm(moves.mean(axis=0))
    assert (moves @ direction).min() > np.quantile(still @ direction, 0.9)


def test_no_atom_moves_less_than_not_at_all_and_faded_ones_lose_their_share(globule: Atoms) -> None:
    motion = Motion(field=500.0, fading=0.6)
    moved = moving(globule, motion, 90.0, np.random.default_rng(2))
    assert moved.b_factors.min() == pytest.approx(-0.7 * 90)
    assert set(np.round(moved.occupancies, 6)) == {0.4, 1.0}
