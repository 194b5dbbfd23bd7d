"""Averages that more became of: numbers of maps as they are, the target where it was, nothing taken twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emres.archive.manifest import DataSet, Row
from emres.errors import MapError
from emres.model.cut import CutPlan
from emres.run import handled_maps as under_test
from emres.run import patch_curves
from emres.run.handled_maps import FILE, HANDLED, STRIPPED, handled_maps, taken_again
from emres.run.kept_facts import FORMAT
from emres.run.patch_curves import curves_path, read_curves
from emres.run.patch_facts import guessed_for
from emres.simulate.recipe import Processing
from tests.run.toy_dataset import GRID, toy_dataset

CUT = CutPlan(side=16, voxel_size=1.0, octaves=3, steps=2)
CROPPED = Processing(region=0.4, crop=True, crop_margin=2.0)


def paired(dataset: DataSet) -> list[Row]:
    """Return the rows that have half maps."""
    return [row for row in dataset.side("train") if "average" in row.densities]


def silent(done: int, of: int) -> None:
    """Tell nobody."""


@pytest.fixture
def kept(tmp_path: Path) -> DataSet:
    return toy_dataset(tmp_path / "set", 2)


def test_every_average_has_so_many_and_they_differ(kept: DataSet) -> None:
    rows, told = paired(kept), []
    found = handled_maps(kept, rows, CUT, {HANDLED: 2}, lambda done, of: told.append((done, of)))
    assert [(one.row, one.number) for one in found] == [(row, k) for row in rows for k in (0, 1)]
    assert len({one.facts.spectra.inside for one in found}) == len(found)
    assert told[-1] == (len(rows), len(rows))


def test_stripped_ones_come_beside_the_others_and_look_so(kept: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "draw_stripped", lambda *about, alone: Processing(contour=0.5))
    alone = handled_maps(kept, paired(kept), CUT, {HANDLED: 1}, silent)
    both = handled_maps(kept, paired(kept), CUT, {HANDLED: 1, STRIPPED: 2}, silent)
    assert [one for one in both if one.kind == HANDLED] == alone
    assert [(one.kind, one.number) for one in both] == [(HANDLED, 0), (STRIPPED, 0), (STRIPPED, 1)]
    assert [one.facts.stripped for one in both] == [False, True, True]


def test_half_of_them_are_changed_in_one_way_alone(kept: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    changed: list[int] = []

    def change(seed: int, *about: float) -> Processing:
        changed.append(seed)
        return Processing()

    monkeypatch.setattr(under_test, "draw_change", change)
    found = handled_maps(kept, paired(kept), CUT, {HANDLED: 4}, silent)
    assert len(found) == 2 * len(set(changed))


def test_what_is_kept_is_not_taken_again(kept: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    first = handled_maps(kept, kept.side("train"), CUT, {HANDLED: 2}, silent)
    monkeypatch.setattr(under_test, "deposit", None)
    assert handled_maps(kept, kept.side("train"), CUT, {HANDLED: 2}, silent) == first


def test_numbers_of_what_is_done_otherwise_are_not_taken_for_these(
    kept: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = paired(kept)
    before = handled_maps(kept, rows, CUT, {HANDLED: 2}, silent)
    for name in ("draw_handling", "draw_change"):
        monkeypatch.setattr(under_test, name, lambda *about: CROPPED)
    after = handled_maps(kept, rows, CUT, {HANDLED: 2}, silent)
    assert {one.key for one in before}.isdisjoint(one.key for one in after)
    assert {one.facts.spectra.inside for one in before}.isdisjoint(one.facts.spectra.inside for one in after)


def test_where_no_molecule_is_left_nobody_looks_again(kept: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*about: object) -> None:
        looked.append(about)
        raise MapError("the mask holds no voxel")

    looked: list[object] = []
    monkeypatch.setattr(under_test, "facts_of", nothing)
    rows = paired(kept)
    for _ in range(2):
        assert handled_maps(kept, rows, CUT, {HANDLED: 2}, silent) == []
        assert len(looked) == 2 * len(rows)
    monkeypatch.setattr(patch_curves, "FORMAT", FORMAT + 1)  # a mask that is found otherwise may find one
    handled_maps(kept, rows, CUT, {HANDLED: 2}, silent)
    assert len(looked) == 4 * len(rows)


def test_curves_that_are_gone_are_taken_again_and_the_same(kept: DataSet) -> None:
    [first, *_] = handled_maps(kept, kept.side("train"), CUT, {HANDLED: 1}, silent)
    before, target = read_curves(kept, first.key)
    curves_path(kept, first.key).unlink()
    [again, *_] = handled_maps(kept, kept.side("train"), CUT, {HANDLED: 1}, silent)
    found, same = read_curves(kept, again.key)
    np.testing.assert_array_equal(found.values, before.values)
    np.testing.assert_array_equal(same, target)


def test_what_is_taken_again_for_another_guess_is_the_same_map_in_other_windows(kept: DataSet) -> None:
    [row, *_] = paired(kept)
    [*_, one] = handled_maps(kept, [row], CUT, {STRIPPED: 1}, silent)
    before, target = read_curves(kept, one.key)
    guessed = guessed_for(row, " stripped 0")
    (facts, same, found), (_, other, _) = (
        taken_again(kept, row, CUT, one.key, factor * guessed) for factor in (1.0, 3.0)
    )
    assert facts == one.facts
    np.testing.assert_array_equal(same.values, before.values)
    np.testing.assert_array_equal(found, target)
    assert other.step != same.step or not np.array_equal(other.values, same.values)


def test_a_part_of_the_molecule_has_the_target_that_is_there(kept: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target rises along z: what the places of a cropped map have of it tells where they are."""
    [row, *_] = paired(kept)
    monkeypatch.setattr(under_test, "draw_handling", lambda *about: CROPPED)
    [one] = handled_maps(kept, [row], CUT, {HANDLED: 1}, silent)
    curves, found = read_curves(kept, one.key)
    known = found > 0
    heights = (found[known] / row.resolution - 0.9) / 0.2 * (GRID.shape[0] - 1)
    here = curves.voxels()[known, 0] * one.facts.spectra.voxel_size / GRID.voxel_size[0]
    offsets = heights - here
    assert np.ptp(offsets) < 1.1  # of rounding
    assert offsets.min() > 2  # the box was cut


def test_entries_without_half_maps_have_none(kept: DataSet) -> None:
    rows = [replace(row, densities=("map",)) for row in kept.side("train")]
    assert handled_maps(kept, rows, CUT, {HANDLED: 2}, silent) == []
    assert not (kept.folder / FILE).exists()


def test_large_boxes_have_none(kept: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_MOST_VOXELS", 10)
    assert handled_maps(kept, kept.side("train"), CUT, {HANDLED: 2}, silent) == []
