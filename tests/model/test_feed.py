"""Every step sees the same patches however many processes share them, and from whichever step on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from emres.errors import UsageError
from emres.model.cut import CutPlan
from emres.model.feed import Feed
from emres.model.loader import Batch
from emres.model.ranks import Ranks
from emres.model.train_plan import TrainPlan
from tests.model.test_loader import same, stream

PLAN = TrainPlan(steps=7, batch=16, parts=2, epoch_steps=3)


def feed(rank: int = 0, size: int = 1, **changes: int) -> Feed:
    parts = stream(PLAN.epoch_steps * PLAN.batch, CutPlan(4))  # of 8 patches
    return Feed(parts, replace(PLAN, **changes), Ranks(rank, size), threads=0)  # type: ignore[arg-type]


def steps_of(one: Feed, start: int = 0) -> list[Batch]:
    return list(itertools.islice(one(start), PLAN.steps - start))


@pytest.fixture(scope="module")
def expected() -> list[Batch]:
    return steps_of(feed())


def test_steps_go_on_over_the_epochs(expected: list[Batch]) -> None:
    assert [len(batch.row) for batch in expected] == [16] * 7
    assert not torch.equal(expected[0].density, expected[3].density)
    again = steps_of(feed())
    assert same(expected, again)


@pytest.mark.parametrize("start", [1, 2, 3, 5, 6])
def test_from_any_step_on_the_batches_are_the_same(expected: list[Batch], start: int) -> None:
    assert same(steps_of(feed(), start), expected[start:])


def test_processes_share_the_batch_of_every_step(expected: list[Batch]) -> None:
    shares: list[Iterator[Batch]] = [iter(feed(rank, 2)(1)) for rank in range(2)]
    for step in range(1, PLAN.steps):
        parts = [next(share) for share in shares]
        together = Batch(*(torch.cat(values) for values in zip(*parts, strict=True)))
        assert same([together], [expected[step]])


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_feed_the_same(expected: list[Batch], threads: int) -> None:
    one = feed()
    one.threads = threads
    assert same(steps_of(one), expected)


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    with pytest.raises(UsageError, match="got 2 parts, 3 processes; set parts to a multiple"):
        feed(0, 3)
