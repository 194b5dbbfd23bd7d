"""A net is as sure of stripped maps as its readers are right there, on maps that it never saw."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from emres.archive.manifest import DataSet, write_dataset
from emres.archive.store import Store
from emres.model.condition import STRIPPED_KIND
from emres.model.conditioned import ConditionedUNet
from emres.model.level_fit import WholeMap
from emres.run import train_lessons, train_surety
from emres.run.handled_maps import STRIPPED, taken_again
from emres.run.train_data import validation_stream
from emres.run.train_lessons import maps_apart
from emres.run.train_surety import sure_of_stripped
from tests.run.toy_dataset import add_entry, toy_dataset
from tests.run.toy_training import PLAN as TOY
from tests.run.toy_training import silent

PLAN = replace(TOY, handled=0)
UNIT = 0.3  # of what a reader answers beside its mean, on the axis
SURE = 0.25  # before


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


@pytest.fixture(autouse=True)
def fair_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the reader of levels, which never learnt, guess what is usual, in voxels."""
    monkeypatch.setattr(train_surety, "guess", lambda reader, condition, valid: 4.0)


@pytest.mark.parametrize("off", [20.0, 60.0])
def test_the_spread_of_stripped_maps_is_what_their_readers_are_off_by(kept: DataSet, off: float) -> None:
    net, stream = net_that_is_off(1.0, off), validation_stream(kept, PLAN)
    assert stream is not None
    sure_of_stripped(net, stream, PLAN, silent)
    # All is off by 20 or more: what the levels themselves are is little beside it.
    assert net.film.surety[STRIPPED_KIND].tolist() == pytest.approx([math.log(off)] * 2, abs=0.1)
    assert (net.film.surety[:STRIPPED_KIND] == SURE).all()


def test_blind_places_are_read_in_the_windows_of_what_is_guessed(
    kept: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    guesses: list[float] = []

    def taken(*about: Any) -> Any:
        guesses.append(about[-1])
        return taken_again(*about)

    monkeypatch.setattr(train_surety, "taken_again", taken)
    net, stream = net_that_is_off(1.0, 20.0), validation_stream(kept, PLAN)
    assert stream is not None
    sure_of_stripped(net, stream, PLAN, silent)
    [one] = maps_apart(stream, {STRIPPED: 1}, silent)[1]
    assert guesses == [4.0 * one.facts.spectra.voxel_size]


def test_where_nothing_is_stripped_nothing_changes(kept: DataSet) -> None:
    plan = replace(PLAN, stripped=0)
    net, stream = net_that_is_off(20.0, 60.0), validation_stream(kept, plan)
    assert stream is not None
    sure_of_stripped(net, stream, plan, silent)
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
    sure_of_stripped(net, stream, PLAN, silent)
    assert (net.film.surety == SURE).all()
