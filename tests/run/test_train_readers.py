"""Readers learn from whole maps, usual and stripped ones, and read those that patches are cut from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emres.archive.manifest import DataSet
from emres.model.condition import LENGTH
from emres.model.conditioned import ConditionedUNet
from emres.model.place_fit import PlaceExamples
from emres.run.patch_sources import DataSetOpener
from emres.run.train_data import training_stream
from emres.run.train_lessons import part_of
from emres.run.train_readers import learn_from_all, learn_readers, read_maps
from tests.run.toy_dataset import toy_dataset
from tests.run.toy_training import PLAN, keys, silent


@pytest.fixture
def kept(tmp_path: Path) -> DataSet:
    return toy_dataset(tmp_path / "set", 2)


def places_of(net: ConditionedUNet, *, stripped: bool) -> torch.Tensor:
    return net.film.readers(stripped).places.members[0].first.weight.clone()


def fresh_net() -> ConditionedUNet:
    torch.manual_seed(0)
    return ConditionedUNet(channels=4, deep_channels=4, deep_layers=1, bands=2)


def test_readers_learn_and_their_levels_reach_every_patch(kept: DataSet) -> None:
    net, stream = fresh_net(), training_stream(kept, PLAN)
    before = net.film.places.members[0].first.weight.clone()
    learn_readers(net, stream, PLAN, silent)
    assert not torch.equal(net.film.places.members[0].first.weight, before)
    read_maps(net, stream, silent)
    batch = next(iter(stream))
    assert batch.condition.shape[1] == LENGTH + 1
    assert (batch.condition[:, LENGTH] != 0).all()
    assert (batch.pattern.flatten(1).std(1) > 0).any()


def test_in_the_end_nothing_is_kept_from_any_member(kept: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[set[int | None]] = []

    def fitted(reader: object, places: list[PlaceExamples | None], *_: object) -> None:
        parts.append({one.part for one in places if one is not None})

    monkeypatch.setattr("emres.run.train_readers.fit_places", fitted)
    net, stream = fresh_net(), training_stream(kept, PLAN)
    learn_readers(net, stream, PLAN, silent)
    levels = net.film.level.state_dict()
    learn_from_all(net, stream, PLAN, silent)
    assert parts == [{part_of(row) for row in kept.side("train")}, {None}, {None}]
    assert all(torch.equal(value, levels[key]) for key, value in net.film.level.state_dict().items())


def test_readers_of_stripped_maps_go_on_from_those_of_usual_ones(kept: DataSet) -> None:
    net, stream = fresh_net(), training_stream(kept, PLAN)
    learn_readers(net, stream, PLAN, silent)
    assert torch.equal(places_of(net, stripped=True), places_of(net, stripped=False))
    learn_from_all(net, stream, PLAN, silent)
    assert not torch.equal(places_of(net, stripped=True), places_of(net, stripped=False))


def test_without_stripped_maps_the_usual_readers_read_them(kept: DataSet) -> None:
    net, plan = fresh_net(), replace(PLAN, stripped=0)
    stream = training_stream(kept, plan)
    learn_readers(net, stream, plan, silent)
    learn_from_all(net, stream, plan, silent)
    assert torch.equal(places_of(net, stripped=True), places_of(net, stripped=False))


def test_usual_readers_learn_the_same_whether_others_learn_from_stripped_maps(kept: DataSet) -> None:
    learnt = []
    for count in (0, 2):
        net, plan = fresh_net(), replace(PLAN, stripped=count)
        stream = training_stream(kept, plan)
        learn_readers(net, stream, plan, silent)
        learn_from_all(net, stream, plan, silent)
        learnt.append({name: value for name, value in net.state_dict().items() if "stripped" not in name})
    assert all(torch.equal(value, learnt[1][name]) for name, value in learnt[0].items())


def test_patches_of_a_stripped_map_are_read_by_its_readers(kept: DataSet) -> None:
    stream = training_stream(kept, PLAN)
    opener = stream.opener
    assert isinstance(opener, DataSetOpener)
    stripped = keys(kept)[0]
    opener.facts[stripped] = replace(opener.facts[stripped], stripped=True)
    net = fresh_net()
    learn_readers(net, stream, PLAN, silent)
    assert not torch.equal(places_of(net, stripped=True), places_of(net, stripped=False))
    read: dict[bool, dict[str, float]] = {}
    for same in (False, True):
        if same:
            net.film.stripped.follow(net.film)
        read_maps(net, stream, silent)
        read[same] = {key: facts.read[0].median for key, facts in opener.facts.items() if facts.read}
    assert [key for key in read[False] if read[False][key] != read[True][key]] == [stripped]


def test_a_map_that_was_learnt_from_is_read_by_the_member_that_did_not(kept: DataSet) -> None:
    stream = training_stream(kept, PLAN)
    opener = stream.opener
    assert isinstance(opener, DataSetOpener)
    net = ConditionedUNet().eval()
    net.requires_grad_(False)
    levels = np.array([1.0, 2.0])
    for member, level in zip(net.film.places.members, levels.tolist(), strict=True):
        member.last.weight.zero_()
        member.last.bias.copy_(torch.tensor([0.0, level]))
    medians = {}
    for learnt in (False, True):
        read_maps(net, stream, silent, learnt=learnt)
        medians[learnt] = [facts.read[0].median for facts in opener.facts.values() if facts.read]
    between = np.array(medians[True]) - np.array(medians[False])
    strangers = [levels[part_of(row) % 2] for row in opener.rows for _ in row.densities]
    np.testing.assert_allclose(between, 0.3 * (strangers - levels.mean()), atol=2e-3)  # a unit is 0.3 on the axis
