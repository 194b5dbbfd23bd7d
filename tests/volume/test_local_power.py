"""The power round places: what a window holds of it, wherever the places lie."""

from __future__ import annotations

import numpy as np
import pytest

from emres.volume import local_power as module
from emres.volume.blocks import Box
from emres.volume.local_power import LocalPower, local_power
from emres.volume.local_window import HANN_SIGMA
from emres.volume.resample import read_box
from emres.volume.spectrum import CELL

SIDE, WIDTH = 96, 24
# Noise that grows from one face to the other, and faster in its middle.
LOUDNESS = 1 + np.arange(SIDE, dtype=np.float32)[:, None, None] / SIDE * 4
NOISE = np.random.default_rng(0).normal(size=(SIDE,) * 3).astype(np.float32) * LOUDNESS


def power_of(volume: np.ndarray) -> LocalPower:
    cells = np.zeros((SIDE // CELL,) * 3, dtype=bool)
    cells[3:9, 3:9, 3:9] = True
    inside = np.repeat(np.repeat(np.repeat(cells, CELL, 0), CELL, 1), CELL, 2)

    def read(values: np.ndarray) -> module.Read:
        return lambda box: np.asarray(read_box(values, box))

    return local_power(read(volume), read(inside), cells, Box((0, 0, 0), volume.shape), WIDTH)


@pytest.mark.parametrize("part", ["core", "skirt"])
def test_the_power_at_a_place_does_not_depend_on_how_far_the_others_lie(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STEPS", 3)
    few = power_of(NOISE)
    monkeypatch.setattr(module, "_STEPS", 6)
    many = power_of(NOISE)
    assert (few.step, many.step) == (8, 4)
    first = [(a - b) // 4 for a, b in zip(few.start, many.start, strict=True)]
    same = tuple(slice(k, k + 2 * n, 2) for k, n in zip(first, few.there.shape, strict=True))
    counted = few.inside & many.inside[same]
    assert counted.sum() > 100
    of_few, of_many = (getattr(few, part)[:, counted], getattr(many, part)[:, *same][:, counted])
    assert np.abs(np.log(of_few / of_many)).mean() < 0.03


def test_white_noise_has_the_power_of_its_variance() -> None:
    power = power_of(np.random.default_rng(1).normal(size=(SIDE,) * 3).astype(np.float32))
    for part in (power.core, power.skirt):
        assert part[:, power.inside].mean() == pytest.approx(1, abs=0.02)


def test_the_mean_of_three_is_as_broad_as_it_is_asked_to_be() -> None:
    variance = 9 * (HANN_SIGMA**2 - module._HANN_SQUARE**2)
    point = np.zeros((7, 7, 7), dtype=np.float32)
    point[3, 3, 3] = 1
    spread = module._between_three(point, variance)
    along = spread.sum(axis=(1, 2))
    assert along @ (np.arange(7) - 3) ** 2 == pytest.approx(variance, rel=0.02)  # what keeps it from 0 counts too
    assert spread.sum() == pytest.approx(1, abs=1e-3)
