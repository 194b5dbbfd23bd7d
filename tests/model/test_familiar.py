"""Maps of the training are familiar, new ones like them too, and others are not."""

from __future__ import annotations

import numpy as np
import pytest

from emres.model.condition import KNOWN, LENGTH, STRIPPED, TOLD
from emres.model.familiar import distance_of, familiar_of, unfamiliar


def maps(count: int, seed: int) -> np.ndarray:
    """Conditions that vary in five directions, and a little in all."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(99)
    directions = fixed.normal(size=(5, LENGTH))
    values = (
        fixed.normal(size=LENGTH) + rng.normal(size=(count, 5)) @ directions + 0.05 * rng.normal(size=(count, LENGTH))
    )
    values[:, KNOWN] = 1
    values[:, TOLD:] = 0
    return values.astype(np.float32)


def test_maps_like_the_training_are_familiar() -> None:
    familiar = familiar_of(maps(200, 1))
    assert sum(bool(unfamiliar(condition, familiar)) for condition in maps(200, 2)) <= 4


def test_a_map_off_in_a_direction_that_never_varied_is_unlike() -> None:
    familiar = familiar_of(maps(200, 1))
    odd = maps(1, 3)[0]
    odd[:20] += np.random.default_rng(4).normal(size=20)
    assert "unlike" in unfamiliar(odd, familiar)[0]


def test_a_map_far_along_a_direction_that_varies_is_unlike() -> None:
    values = maps(200, 1)
    familiar = familiar_of(values)
    far = values.mean(axis=0) + 12 * (values[0] - values.mean(axis=0))
    assert unfamiliar(far, familiar)


def test_what_is_told_of_a_resolution_does_not_matter() -> None:
    values = maps(100, 1)
    told = values[0].copy()
    told[TOLD : TOLD + 2] = (0.3, 1.0)
    familiar = familiar_of(values)
    assert unfamiliar(told, familiar) == unfamiliar(values[0], familiar) == []


def test_whether_a_map_is_stripped_does_not_matter() -> None:
    """A warning of its own says that; and models of before it was told of know nothing of it."""
    familiar, stripped = familiar_of(maps(200, 1)), maps(1, 2)[0]
    usual = stripped.copy()
    stripped[STRIPPED] = 1
    assert len(familiar["centre"]) == STRIPPED
    assert unfamiliar(stripped, familiar) == unfamiliar(usual, familiar)


def test_nothing_known_is_nothing_said() -> None:
    assert unfamiliar(maps(1, 1)[0], {}) == []


def test_a_few_maps_are_enough_to_describe() -> None:
    values = maps(3, 1)
    assert distance_of(values[0, :STRIPPED], familiar_of(values)) < 10


@pytest.mark.parametrize("count", [1, 2])
def test_the_description_is_finite(count: int) -> None:
    familiar = familiar_of(maps(count, 1))
    assert all(np.isfinite(np.asarray(part)).all() for part in familiar.values())
