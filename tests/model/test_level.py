"""A reader of levels finds where signal ends, wherever that is, and heeds what it is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emres.model.augment import Augmentation
from emres.model.condition import LENGTH, TOLD, condition_of
from emres.model.level import LevelReader
from emres.model.level_fit import WholeMap, fit_levels, level_examples
from emres.model.patch_source import MapFacts
from emres.volume.contrast import SHELLS as CONTRAST_SHELLS
from emres.volume.contrast import Contrast
from emres.volume.density import Normalisation
from emres.volume.spectrum import SHELLS, SIDE, Spectra

FLAT = (0.1,) * CONTRAST_SHELLS


def condition_at(level: float, slope: float, reported: float | None = None) -> np.ndarray:
    """Of a map whose signal ends at a level, log(resolution / voxel size), and whose noise is not known."""
    frequency = np.arange(SHELLS) / SIDE
    power = np.exp(-slope * frequency) * (1 + 20 * np.exp(np.minimum(60 * (np.exp(-level) - frequency), 20)))
    ends = np.clip((np.exp(-level) - np.arange(2, CONTRAST_SHELLS + 2) / 48) * 20, 0, 1)
    contrast = Contrast(*(tuple(0.1 + 1.5 * ends),) * 2, tuple(ends), tuple(2 * ends), 90)
    return condition_of(Spectra(1.0, tuple(power), (), contrast), reported)


@pytest.fixture(scope="module")
def reader() -> LevelReader:
    """One that learnt from maps of 3 to 8 voxels, half of which say their level."""
    rng = np.random.default_rng(3)
    levels = rng.uniform(np.log(3), np.log(8), 300)
    reports = [float(np.exp(level)) / 1.2 if k % 2 else None for k, level in enumerate(levels)]
    told = [condition_at(level, rng.uniform(-5, 15), report) for level, report in zip(levels, reports, strict=True)]
    reader = LevelReader()
    fit_levels(reader, np.stack(told), levels, 150, seed=1)
    return reader.eval()


def read(reader: LevelReader, condition: np.ndarray) -> float:
    with torch.inference_mode():
        return float(reader(torch.from_numpy(condition)[None]))


@pytest.mark.parametrize("voxels", [3.5, 5.0, 7.0])
@pytest.mark.parametrize("slope", [-5.0, 15.0])
def test_it_finds_where_the_signal_ends_whatever_the_filter(reader: LevelReader, voxels: float, slope: float) -> None:
    assert read(reader, condition_at(np.log(voxels), slope)) == pytest.approx(np.log(voxels), abs=0.12)


def test_it_heeds_what_is_reported(reader: LevelReader) -> None:
    coarse, fine = (read(reader, condition_at(np.log(5), 5.0, reported)) for reported in (6.0, 3.5))
    assert coarse > fine + 0.05


def test_a_report_that_no_such_map_ever_had_is_believed_before_the_map(reader: LevelReader) -> None:
    """Beyond what training has, it is the map that is likely to be of another kind."""
    shown, reported = np.log(3.5), 7.0
    alone, told = (read(reader, condition_at(shown, 5.0, value)) for value in (None, reported))
    assert alone == pytest.approx(shown, abs=0.12)
    assert abs(told - np.log(1.2 * reported)) < abs(told - shown)


def test_members_differ_and_their_mean_is_the_answer(reader: LevelReader) -> None:
    condition = torch.from_numpy(condition_at(np.log(5), 5.0))[None]
    each = reader.each(condition)
    assert each.std() > 0
    torch.testing.assert_close(reader(condition), each.mean(0))


def test_the_same_seed_learns_the_same_and_nothing_learns_later(reader: LevelReader) -> None:
    told, levels = np.random.default_rng(0).normal(size=(20, LENGTH)).astype(np.float32), np.linspace(1, 2, 20)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        one = LevelReader()
        fit_levels(one, told, levels, 3, seed)
        assert not any(weight.requires_grad for weight in one.parameters())
        found.append(one.members[0].first.weight)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_examples_are_of_every_map_told_and_untold() -> None:
    facts = MapFacts(Normalisation(0.0, 1.0), Spectra(1.0, (1.0,) * SHELLS, (1.0,) * SHELLS))
    maps = [WholeMap("a", "map", facts, reported, 2.0, 4.0) for reported in (3.0, None)]
    conditions, of = level_examples(maps, Augmentation(told=0.5, mask=0.5), seed=2)
    assert conditions.shape == (len(of), LENGTH)
    assert 0 < conditions[of == 0, TOLD + 1].sum() < (of == 0).sum()
    assert conditions[of == 1, TOLD + 1].sum() == 0
