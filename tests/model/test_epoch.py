"""An epoch is balanced, without duplicates, a function of its seed; and centred where the molecule is."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emres.errors import UsageError
from emres.model.epoch import by_entry, draw_patches, plan_epoch, plan_visits, shares
from emres.model.patch_spec import Cells, EpochPlan


@dataclass(frozen=True)
class Entry:
    entry: str = "e"
    weight: float = 1.0
    resolution: float = 3.0
    voxels: int = 8000
    densities: tuple[str, ...] = ("map", "average")
    lattice: int = 0


def ball(row: int) -> Cells:
    """A molecule of radius 12 voxels in the middle of 64^3, in cells of 4^3."""
    grid = np.stack(np.meshgrid(*[np.arange(16)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = np.linalg.norm(grid - 7.5, axis=1) < 3.5
    return Cells(grid[inside] * 4, 4, (64, 64, 64))


ROWS = [Entry(f"e{k}", resolution=r) for k, r in enumerate((2.5, 2.6, 2.7, 2.8, 5.0, 9.0))]
PLAN = EpochPlan(600, seed=3, visit=8, near=0.1, shift=8)


def places(specs) -> list:
    return [(spec.row, spec.centre) for spec in specs]


def test_no_two_patches_of_an_epoch_are_the_same() -> None:
    specs = plan_epoch(ROWS, ball, PLAN)
    assert len(specs) == len(set(places(specs))) == 600
    assert len({spec.seed for spec in specs}) == 600


def test_the_same_seed_is_the_same_epoch_and_another_epoch_another_draw() -> None:
    assert plan_epoch(ROWS, ball, PLAN) == plan_epoch(ROWS, ball, PLAN)
    first, other, seed = (
        set(places(plan_epoch(ROWS, ball, replace(PLAN, **change)))) for change in ({}, {"epoch": 1}, {"seed": 4})
    )
    assert len(first & other) < 60
    assert len(first & seed) < 60


def test_every_quarter_octave_of_resolution_gets_the_same() -> None:
    share = shares(ROWS)
    assert share[:4].sum() == pytest.approx(share[4]) == pytest.approx(share[5])
    counts = Counter(spec.row for spec in plan_epoch(ROWS, ball, PLAN))
    assert all(abs(counts[k] - 600 * share[k]) <= 2 * PLAN.visit for k in range(6))


def test_weights_share_out_what_a_resolution_gets_and_0_is_never_drawn() -> None:
    rows = [replace(ROWS[0], weight=3.0), ROWS[1], replace(ROWS[2], weight=0.0), ROWS[5]]
    np.testing.assert_allclose(shares(rows), [0.375, 0.125, 0, 0.5])
    assert 2 not in {spec.row for spec in plan_epoch(rows, ball, PLAN)}


def test_a_lone_entry_of_an_odd_resolution_is_not_half_of_all() -> None:
    rows = [Entry(resolution=3.0)] * 99 + [Entry(resolution=12.0)]
    assert 0.05 < shares(rows)[-1] < 0.1


def test_centres_lie_in_the_molecule_but_for_the_stated_share() -> None:
    specs = plan_epoch(ROWS, ball, PLAN)
    distance = np.array([np.linalg.norm(np.subtract(spec.centre, 31.5)) for spec in specs])
    inside = np.mean(distance < 4 * 3.5 + 2 * np.sqrt(3))
    assert 0.90 <= inside < 0.99
    assert np.array([spec.centre for spec in specs]).min() >= 0
    assert all(value == int(value) for spec in specs for value in spec.centre)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 5), st.integers(0, 3))
def test_an_epoch_has_exactly_as_many_patches_as_asked_for(patches: int, visit: int, window: int, seed: int) -> None:
    visits = plan_visits(ROWS, EpochPlan(patches, seed=seed, visit=visit, window=window))
    assert sum(one.count for one in visits) == patches
    assert all(one.count <= visit for one in visits)
    seen = Counter(k for one in visits for k in ((one.row, j) for j in range(one.first, one.first + one.count)))
    assert max(seen.values()) == 1


def test_entries_come_in_windows() -> None:
    rows = [Entry(f"e{k}") for k in range(20)]
    visits = plan_visits(rows, EpochPlan(20 * 32, visit=8, window=4))
    order = [one.row for one in visits]
    first = {row: order.index(row) for row in set(order)}
    last = {row: len(order) - order[::-1].index(row) for row in set(order)}
    assert all(last[row] - first[row] <= 4 * 6 * 8 // 8 for row in first)
    assert any(a != b for a, b in itertools.pairwise(order[:8]))


def test_visits_of_one_entry_together_are_the_same_patches() -> None:
    visits = plan_visits(ROWS, PLAN)
    apart = {spec for one in visits for spec in draw_patches(one, ROWS[one.row], ball, PLAN)}
    whole = {spec for one in by_entry(visits) for spec in draw_patches(one, ROWS[one.row], ball, PLAN)}
    assert apart == whole


def test_a_visit_shows_one_density_and_an_epoch_shows_both() -> None:
    visits = plan_visits(ROWS, PLAN)
    kinds = [{spec.density for spec in draw_patches(one, ROWS[one.row], ball, PLAN)} for one in visits]
    assert all(len(kind) == 1 for kind in kinds)
    assert set.union(*kinds) == {"map", "average"}


def test_turns_are_drawn_only_where_they_are_asked_for() -> None:
    assert {(spec.turn, spec.mirrored) for spec in plan_epoch(ROWS, ball, PLAN)} == {(0, False)}
    turned = plan_epoch(ROWS, ball, replace(PLAN, rotations=True, mirrors=True))
    assert {spec.turn for spec in turned} == set(range(24))
    assert 0.4 < np.mean([spec.mirrored for spec in turned]) < 0.6


def test_cubes_of_a_lattice_are_drawn_whole_each_in_as_many_turns_as_it_takes() -> None:
    cubes = Cells(np.array([[0, 0, 0], [16, 0, 32]]), 16, (32, 32, 48))
    row = Entry(voxels=2 * 16**3, lattice=16, densities=("map",))
    specs = plan_epoch([row], lambda k: cubes, EpochPlan(48, rotations=True))
    assert {spec.centre for spec in specs} == {(8.0, 8.0, 8.0), (24.0, 8.0, 40.0)}
    assert len({(spec.centre, spec.turn) for spec in specs}) == 48
    for most, turned in ((48, True), (2, False)):
        with pytest.raises(UsageError, match="not as many different"):
            plan_epoch([row], lambda k: cubes, EpochPlan(most + 1, rotations=turned))


def test_more_patches_than_voxels_and_nothing_at_all_are_refused() -> None:
    with pytest.raises(UsageError, match="not as many different patches"):
        plan_epoch([Entry(voxels=100)], ball, EpochPlan(101))
    for rows in ([], [Entry(weight=0.0)], [Entry(voxels=0)]):
        with pytest.raises(UsageError, match="nothing to cut"):
            plan_epoch(rows, ball, PLAN)


def test_a_target_that_shrank_names_the_entry() -> None:
    gone = Cells(np.zeros((0, 3), dtype=int), 4, (64, 64, 64))
    with pytest.raises(UsageError, match="the target of e0 has changed"):
        plan_epoch(ROWS[:1], lambda k: gone, PLAN)


@pytest.mark.parametrize("wrong", [{"patches": 0}, {"visit": 0}, {"near": 1.5}, {"seed": -1}, {"epoch": -1}])
def test_plans_that_cannot_be_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        EpochPlan(**{"patches": 1, **wrong})
