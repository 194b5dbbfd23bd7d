"""What a net is told of a map, and the pattern beside its density: the same in training and after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from emres.archive.scratch import MemoryScratch
from emres.model.bundle import save_bundle
from emres.model.condition import KNOWN, SHOWN, TOLD
from emres.model.conditioned import ConditionedUNet
from emres.model.contract import WITH_SPREAD, Contract
from emres.run.map_spectra import inputs_of, prepare_for
from emres.run.prepare import DENSITY, NEEDED, PATTERN
from emres.volume.blocks import Box
from emres.volume.grid import Grid
from emres.volume.pyramid import MemoryPyramid
from tests.model.conftest import contract

GRID = Grid((96, 96, 96), (1.5, 1.5, 1.5))
SHIFT = (8, 0, -8)


def told_contract(**changes: object) -> Contract:
    fields = {"architecture": "conditioned_unet", "output": WITH_SPREAD, "patterned": True, "voxel_size": 1.5}
    return contract(**{**fields, **changes})


@pytest.fixture(scope="module")
def ball() -> np.ndarray:
    z, y, x = np.indices(GRID.shape) - 47.5
    return np.asarray(z**2 + y**2 + x**2 < 18**2)


@pytest.fixture(scope="module")
def density(ball: np.ndarray) -> np.ndarray:
    """A molecule, finer on one side, in noise."""
    rng = np.random.default_rng(4)
    white = rng.normal(size=GRID.shape)
    fine, coarse = (ndimage.gaussian_filter(white, sigma) * sigma**1.5 * 8 for sigma in (1.0, 2.0))
    signal = ball * np.where(np.indices(GRID.shape)[2] < 48, fine, coarse)
    return (signal + rng.normal(size=GRID.shape)).astype(np.float32)


def prepared(density: np.ndarray, mask: np.ndarray, reported: float | None = None, **changes: object) -> MemoryScratch:
    scratch, told = MemoryScratch(), told_contract(**changes)
    source = MemoryPyramid(density, GRID)
    prepare_for(told, source, [(Box((0, 0, 0), GRID.shape), mask)], told.working_grid(GRID), scratch, reported)
    return scratch


def test_where_the_noise_shows_the_finer_side_does_too(density: np.ndarray, ball: np.ndarray) -> None:
    scratch = prepared(density, ball)
    condition, pattern = scratch.notes()["condition"], np.asarray(scratch.open(PATTERN)[...])
    assert condition[KNOWN] == condition[SHOWN + 1] == 1
    assert condition[TOLD:] == [0, 0]
    half = np.indices(GRID.shape)[2] < 48
    assert np.median(pattern[ball & half]) < np.median(pattern[ball & ~half]) - 0.1


def test_a_masked_map_shows_a_pattern_only_with_a_report(density: np.ndarray, ball: np.ndarray) -> None:
    masked = density * ball
    blind, told = prepared(masked, ball), prepared(masked, ball, reported=6.0)
    assert blind.notes()["condition"][KNOWN] == told.notes()["condition"][KNOWN] == 0
    assert not np.asarray(blind.open(PATTERN)[...]).any()
    assert np.asarray(told.open(PATTERN)[...]).any()


def test_a_net_that_is_told_nothing_is_asked_for_a_guess(density: np.ndarray, ball: np.ndarray, tmp_path: Path) -> None:
    """The pattern comes of it, and nothing that the net is told changes."""
    net = ConditionedUNet(channels=4, deep_channels=4, deep_layers=1, bands=2)
    about = told_contract(arguments={"channels": 4, "deep_channels": 4, "deep_layers": 1, "bands": 2}, halo=20)
    about = save_bundle(tmp_path / "net", net, about, "# net")
    scratch = MemoryScratch()
    source, whole = MemoryPyramid(density * ball, GRID), Box((0, 0, 0), GRID.shape)
    prepare_for(about, source, [(whole, ball)], about.working_grid(GRID), scratch, folder=tmp_path / "net")
    assert scratch.notes()["condition"] == prepared(density * ball, ball).notes()["condition"]
    assert np.asarray(scratch.open(PATTERN)[...]).any()


def test_moving_the_molecule_moves_the_pattern(density: np.ndarray, ball: np.ndarray) -> None:
    still = prepared(density, ball)
    moved = prepared(*(np.roll(values, SHIFT, (0, 1, 2)) for values in (density, ball)))
    first, second = (np.asarray(scratch.open(PATTERN)[...]) for scratch in (still, moved))
    np.testing.assert_allclose(np.roll(second, [-a for a in SHIFT], (0, 1, 2))[ball], first[ball], atol=0.05)


def test_a_net_that_reads_no_pattern_is_given_none(density: np.ndarray, ball: np.ndarray) -> None:
    told = told_contract(patterned=False)
    assert inputs_of(told) == (DENSITY, NEEDED)
    assert inputs_of(replace(told, patterned=True)) == (DENSITY, NEEDED, PATTERN)
    scratch = prepared(density, ball, patterned=False)
    assert scratch.notes()["condition"][SHOWN : SHOWN + 2] == [0, 0]
