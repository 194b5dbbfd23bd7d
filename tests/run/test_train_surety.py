"""A net is as much less sure of stripped maps as its readers are farther off there, on maps that it never saw."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from emres.archive.manifest import DataSet, write_dataset
from emres.archive.store import Store
from emres.model.condition import KINDS_OF_NOISE
from emres.model.conditioned import ConditionedUNet
from emres.model.level_fit import WholeMap
from emres.model.train import Moment
from emres.model.train_plan import TrainPlan
from emres.run import train_lessons
from emres.run.train_data import validation_stream
from emres.run.train_surety import widen_for_stripped
from tests.run.toy_dataset import add_entry, toy_dataset

PLAN = TrainPlan(steps=3, epoch_steps=1, batch=4, side=16, margin=4, handled=0, stripped=1).settled()
STRIPPED = KINDS_OF_NOISE - 1
UNIT = 0.3  # of what a reader answers beside its mean, on the axis
SURE = 0.25  # of every kind of usual maps


def silent(moment: Moment) -> None:
    """Tell nobody."""


@pytest.fixture
def kept(tmp_path: Path) -> DataSet:
    """Two entries to validate on, of which one has half maps."""
    made = toy_dataset(tmp_path / "set", 1)
    row = add_entry(Store(made.folder / "store"), "w", halves=True, split="validation")
    dataset = replace(made, rows=(*made.rows, replace(row, reported=3.0)))
    write_dataset(dataset)
    return dataset


def always(film: Any, level: float) -> None:
    """Have readers of places answer the same everywhere, whatever they see."""
    for member in film.places.members:
        torch.nn.init.zeros_(member.last.weight)
        with torch.no_grad():
            member.last.bias.copy_(torch.tensor([0.0, level / UNIT]))


def net_that_is_off(usual: float, stripped: float) -> ConditionedUNet:
    net = ConditionedUNet(channels=4, deep_channels=4, deep_layers=1, bands=2)
    always(net.film, usual)
    always(net.film.stripped, stripped)
    net.film.surety[:] = SURE
    return net


@pytest.mark.parametrize("farther", [3.0, 2.0, 0.5])
def test_the_spread_of_stripped_maps_is_wider_by_how_much_farther_off_they_are(kept: DataSet, farther: float) -> None:
    net, stream = net_that_is_off(20.0, 20.0 * farther), validation_stream(kept, PLAN)
    assert stream is not None
    widen_for_stripped(net, stream, PLAN, silent)
    found = net.film.surety[STRIPPED].tolist()
    # All is off by 20 or more: what the levels themselves are is little beside it.
    assert found == pytest.approx([SURE + math.log(farther)] * 2, abs=0.1)
    assert (net.film.surety[:STRIPPED] == SURE).all()


def test_where_nothing_is_stripped_nothing_changes(kept: DataSet) -> None:
    plan = replace(PLAN, stripped=0)
    net, stream = net_that_is_off(20.0, 60.0), validation_stream(kept, plan)
    assert stream is not None
    widen_for_stripped(net, stream, plan, silent)
    assert (net.film.surety == SURE).all()


def test_where_patches_are_of_stripped_maps_they_have_told_already(
    kept: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = train_lessons.level_maps

    def stripped(stream: Any) -> list[WholeMap]:
        first, *rest = real(stream)
        return [replace(first, facts=replace(first.facts, stripped=True)), *rest]

    monkeypatch.setattr(train_lessons, "level_maps", stripped)
    net, stream = net_that_is_off(20.0, 60.0), validation_stream(kept, PLAN)
    assert stream is not None
    widen_for_stripped(net, stream, PLAN, silent)
    assert (net.film.surety == SURE).all()
