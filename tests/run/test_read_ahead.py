"""Maps are read before a training begins: by several processes the same as by one, and none a second time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emres.archive.manifest import DataSet
from emres.errors import MapError
from emres.model.cut import CutPlan
from emres.model.train import Moment
from emres.model.train_plan import TrainPlan
from emres.run import handled_maps, patch_facts, read_ahead
from emres.run.handled_maps import FILE as HANDLED
from emres.run.handled_maps import wanted
from emres.run.kept_facts import FILE, read_facts
from emres.run.patch_facts import gather_facts
from emres.run.train_data import training_stream, validation_stream
from emres.run.train_lessons import handled_examples, level_maps
from tests.run.toy_dataset import toy_dataset

PLAN = TrainPlan(side=16, margin=2, voxel_size=1.5, steps=2, handled=2, stripped=1).settled()
CUT = CutPlan(16, 1.5, 3, 2, steps=2)


@pytest.fixture
def fresh(tmp_path: Path) -> DataSet:
    return toy_dataset(tmp_path / "set", 2)


def read(dataset: DataSet, plan: TrainPlan = PLAN, **how: Any) -> list[Moment]:
    told: list[Moment] = []
    read_ahead.read_ahead(dataset.folder, plan, told.append, **how)
    return told


def everything(dataset: DataSet) -> dict[str, Any]:
    """What is kept of a data set's maps: numbers, and curves."""
    numbers = {file: json.loads((dataset.folder / file).read_text()) for file in (FILE, HANDLED)}
    for told in (one["normalisation"] for found in numbers.values() for one in found["maps"].values()):
        told["scale"] = float(f"{told['scale']:.12g}")  # sums of more threads are others in their last digits
    curves = {}
    for path in (dataset.folder / "curves").iterdir():
        with np.load(path) as held:
            curves[path.name] = {name: held[name].tolist() for name in held.files}
    return {**numbers, "curves": curves}


@pytest.fixture
def nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*about: object) -> None:
        raise AssertionError(about)

    monkeypatch.setattr(patch_facts, "take_facts", refuse)
    monkeypatch.setattr(handled_maps, "_handled", refuse)


def all_that_a_training_needs(dataset: DataSet) -> None:
    stream = training_stream(dataset, PLAN)
    assert validation_stream(dataset, PLAN) is not None
    handled_examples(stream, level_maps(stream), wanted(PLAN), lambda moment: None)


def test_a_training_finds_all_that_was_read_ahead(fresh: DataSet, request: pytest.FixtureRequest) -> None:
    told = read(fresh)
    assert [(one.what, one.step, one.steps) for one in told] == [
        ("numbers of maps", 1, 3), ("numbers of maps", 2, 3), ("numbers of maps", 3, 3), ("maps handled", 1, 1),
    ]  # fmt: skip
    request.getfixturevalue("nothing_is_read")
    all_that_a_training_needs(fresh)
    assert read(fresh) == []


def test_two_processes_read_what_one_reads(fresh: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = toy_dataset(tmp_path / "other", 2)
    read(other)
    monkeypatch.setattr(read_ahead, "_FEW", 0)
    told = read(fresh, processes=2)
    assert sorted((one.what, one.step, one.steps) for one in told) == [
        ("maps handled", 1, 1), ("numbers of maps", 1, 3), ("numbers of maps", 2, 3), ("numbers of maps", 3, 3),
    ]  # fmt: skip
    assert everything(fresh) == everything(other)


def test_it_is_what_a_stream_takes_by_itself(fresh: DataSet, tmp_path: Path) -> None:
    other = toy_dataset(tmp_path / "other", 2)
    gather_facts(other, other.rows, CUT)
    read(fresh)
    assert read_facts(fresh) == read_facts(other)


def test_few_maps_are_worth_no_processes(fresh: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emres.run.cluster.connect", None)
    assert read(fresh, processes=8)


def test_no_more_processes_read_than_the_memory_holds(fresh: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "_FEW", 0)
    monkeypatch.setattr("emres.run.cluster.free_memory", lambda: read_ahead._ROOM)
    monkeypatch.setattr("emres.run.cluster.connect", None)
    assert read(fresh, processes=8)


def test_nets_that_read_no_places_need_no_handled_maps(fresh: DataSet) -> None:
    plan = TrainPlan("compact_unet", side=16, voxel_size=1.5).settled()
    assert {one.what for one in read(fresh, plan)} == {"numbers of maps"}
    assert not (fresh.folder / HANDLED).exists()


def test_what_was_read_before_a_bad_map_is_kept(fresh: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    real = patch_facts.take_facts

    def take(dataset: DataSet, row: Any, *rest: Any) -> Any:
        if row.entry == "e1":
            raise MapError("e1 cannot be normalised")
        return real(dataset, row, *rest)

    monkeypatch.setattr(patch_facts, "take_facts", take)
    with pytest.raises(MapError, match="e1 cannot"):
        read(fresh)
    assert {key.split("/")[1] for key in read_facts(fresh)} == {"e0"}


def test_a_data_set_that_cannot_be_written_is_left_alone(
    fresh: DataSet, monkeypatch: pytest.MonkeyPatch, nothing_is_read: None
) -> None:
    monkeypatch.setattr("os.access", lambda *about: False)
    assert read(fresh) == []
