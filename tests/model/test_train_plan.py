"""A plan says everything, refuses what it does not know by the nearest name, and tells what changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emres.errors import UsageError
from emres.model.augment import USUAL, Augmentation
from emres.model.plan_values import plan_from
from emres.model.train_plan import TrainPlan

KINDS = ["conditioned_unet", "compact_unet", "legacy_dropout", "legacy_batchnorm"]


@pytest.mark.parametrize("architecture", KINDS)
def test_a_settled_plan_is_read_back_from_its_record(architecture: str) -> None:
    plan = TrainPlan(architecture=architecture, steps=7).settled()
    assert None not in (plan.side, plan.margin, plan.learning_rate, plan.augmentation)
    record = json.loads(json.dumps(plan.record()))
    assert plan.differences(record) == []
    told = {name: value for name, value in record.items() if value is not None}
    assert plan_from(told).settled() == plan


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"stepz": 3}, "got stepz; did you mean steps?"),
        ({"lerning_rate": 3.0}, "did you mean learning_rate?"),
        ({"augmentation": {"masks": 0.5}}, "augmentation, has an unknown setting: got masks; did you mean mask?"),
        ({"qqq": 1}, "there are architecture, arguments"),
        ({"steps": "many"}, "a wrong steps: got 'many', expected a whole number"),
        ({"steps": True}, "expected a whole number"),
        ({"level_steps": 2.5}, "a wrong level_steps: got 2.5, expected a whole number"),
        ({"level_steps": 0}, "with this level_steps: got 0, expected 1 or more"),
        ({"side": 3.5}, "a wrong side: got 3.5"),
        ({"learning_rate": float("nan")}, "expected a number"),
        ({"arguments": {"channels": "x"}}, "a wrong arguments"),
        ({"arguments": 3}, "a wrong arguments"),
        ({"valid_range": [1]}, "two numbers in brackets"),
        ({"augmentation": {"rotations": 1}}, "augmentation.rotations: got 1, expected true or false"),
        ({"schedule": "steps"}, "one-cycle or cosine"),
        ({"batch": 6, "parts": 4}, "a multiple of parts, 4"),
        ({"steps": 0}, "1 or more"),
        ({"learning_rate": -1.0}, "above 0"),
    ],
)
def test_what_a_plan_cannot_be_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        plan_from(values, "mine.toml")
    assert words in str(refused.value)


@pytest.mark.parametrize("name", ["level_steps", "side", "margin"])
def test_a_whole_number_stays_one_where_none_is_the_default(name: str) -> None:
    assert type(getattr(plan_from({name: 8}), name)) is int


def test_some_of_an_augmentation_leaves_the_rest_as_the_architecture_wants_it() -> None:
    compact = plan_from({"augmentation": {"mask": 0.5}}).settled().augmentation
    assert compact is not None
    assert (compact.mask, compact.noise) == (0.5, USUAL.noise)
    legacy = plan_from({"augmentation": {"mirrors": True}}, base=TrainPlan(architecture="legacy_dropout")).settled()
    assert legacy.augmentation == Augmentation(rotations=True, mirrors=True)


def test_differences_name_what_changed_and_nothing_that_may() -> None:
    before = TrainPlan(name="a").settled().record()
    assert TrainPlan(name="b", version="2", checkpoint_every=7).settled().differences(before) == []
    told = TrainPlan(steps=5, augmentation=Augmentation()).settled().differences(before)
    assert told[0] == "steps 2000, not 5"
    assert told[1].startswith("augmentation {")
    assert len(told) == 2
