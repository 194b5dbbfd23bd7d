"""What readers learn from: places of usual maps, and apart from these of stripped ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emres.archive.manifest import DataSet
from emres.run.handled_maps import wanted
from emres.run.patch_sources import DataSetOpener
from emres.run.train_data import training_stream
from emres.run.train_lessons import is_made, lessons_of, level_maps, maps_apart, place_examples
from tests.run.toy_dataset import toy_dataset
from tests.run.toy_training import PLAN, silent


@pytest.fixture
def kept(tmp_path: Path) -> DataSet:
    return toy_dataset(tmp_path / "set", 2)


def test_examples_are_places_of_the_molecule_with_and_without_a_target(kept: DataSet) -> None:
    stream = training_stream(kept, PLAN)
    found = [one for one in place_examples(stream, level_maps(stream), PLAN.seed) if one is not None]
    assert found
    known = np.concatenate([np.isfinite(one.levels) for one in found])
    assert 0.3 < known.mean() < 1
    assert all(np.isfinite(one.levels).sum() >= 8 for one in found)


def test_examples_are_of_voxels_that_count(kept: DataSet) -> None:
    stream = training_stream(kept, PLAN)
    maps = level_maps(stream)
    for one, found in zip(maps, place_examples(stream, maps, 0), strict=True):
        assert found is not None
        assert np.nanmax(np.abs(found.levels - one.level)) < 0.2  # the target of a toy differs by a tenth


def test_stripped_maps_are_lessons_apart_and_the_usual_ones_are_without_them(kept: DataSet) -> None:
    stream = training_stream(kept, PLAN)
    usual, stripped = maps_apart(stream, wanted(PLAN), silent)
    assert [one.density for one in stripped] == ["stripped-0"]
    assert {one.density for one in usual} == {"map", "average", "handled-0"}


def test_a_stripped_map_of_the_data_set_is_one_of_them(kept: DataSet) -> None:
    stream, plan = training_stream(kept, PLAN), replace(PLAN, stripped=0)
    opener = stream.opener
    assert isinstance(opener, DataSetOpener)
    assert lessons_of(stream, maps_apart(stream, wanted(plan), silent)[1], plan) is None
    first = next(iter(opener.facts))
    opener.facts[first] = replace(opener.facts[first], stripped=True)
    stripped = lessons_of(stream, maps_apart(stream, wanted(plan), silent)[1], plan)
    assert stripped is not None
    assert [one.key for one in stripped.maps] == [first]
    assert not is_made(stripped.maps[0])


def test_where_all_maps_are_stripped_they_are_the_usual_ones(kept: DataSet) -> None:
    stream, plan = training_stream(kept, PLAN), replace(PLAN, stripped=0, handled=0)
    opener = stream.opener
    assert isinstance(opener, DataSetOpener)
    before, _ = maps_apart(stream, wanted(plan), silent)
    for key, facts in opener.facts.items():
        opener.facts[key] = replace(facts, stripped=True)
    usual, _ = maps_apart(stream, wanted(plan), silent)
    assert before
    assert [one.key for one in usual] == [one.key for one in before]


def test_for_all_no_part_is_kept_from_anybody(kept: DataSet) -> None:
    stream = training_stream(kept, PLAN)
    usual = lessons_of(stream, maps_apart(stream, wanted(PLAN), silent)[0], PLAN)
    assert usual is not None
    assert {one.part for one in usual.by_all().places if one} == {None}
    assert None not in {one.part for one in usual.places if one}
