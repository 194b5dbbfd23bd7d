"""What a net is told of a map, and the pattern beside its density: the same in training and after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from emres.archive.scratch import MemoryScratch
from emres.model.bundle import save_bundle
from emres.model.condition import KNOWN, LENGTH, SHOWN, TOLD
from emres.model.conditioned import ConditionedUNet
from emres.model.contract import WITH_SPREAD, Contract, read_contract
from emres.run.map_spectra import inputs_of, prepare_for
from emres.run.prepare import DENSITY, NEEDED, PATTERN
from emres.volume.blocks import Box
from emres.volume.grid import Grid, as_shape
from emres.volume.pyramid import MemoryPyramid
from emres.volume.spectrum import NYQUIST
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


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose reader of places has random weights."""
    torch.manual_seed(3)
    arguments = {"channels": 4, "deep_channels": 4, "deep_layers": 1, "bands": 2}
    folder = tmp_path_factory.mktemp("models") / "net"
    save_bundle(folder, ConditionedUNet(**arguments), told_contract(arguments=arguments, halo=20), "# net")
    return folder


def prepared(
    density: np.ndarray,
    mask: np.ndarray,
    reported: float | None = None,
    folder: Path | None = None,
    size: float = GRID.voxel_size[0],
    **changes: object,
) -> MemoryScratch:
    scratch, grid = MemoryScratch(), Grid(as_shape(density.shape), (size,) * 3)
    told = told_contract(**changes) if folder is None else read_contract(folder)
    source = MemoryPyramid(density, grid)
    prepare_for(told, source, [(Box((0, 0, 0), grid.shape), mask)], told.working_grid(grid), scratch, reported, folder)
    return scratch


def test_where_the_noise_shows_so_does_the_level(density: np.ndarray, ball: np.ndarray, net: Path) -> None:
    condition = prepared(density, ball, folder=net).notes()["condition"]
    assert len(condition) == LENGTH + 1
    assert condition[KNOWN] == condition[SHOWN + 1] == 1
    assert condition[TOLD:LENGTH] == [0, 0, 0]


@pytest.mark.parametrize("reported", [None, 6.0])
def test_a_masked_map_is_read_all_the_same(density: np.ndarray, ball: np.ndarray, net: Path, reported) -> None:
    scratch = prepared(density * ball, ball, reported, net)
    condition, pattern = scratch.notes()["condition"], np.asarray(scratch.open(PATTERN)[...])
    assert condition[KNOWN] == condition[SHOWN + 1] == 0
    assert condition[TOLD + 1] == float(reported is not None)
    assert np.median(pattern[ball]) == pytest.approx(0, abs=0.02)
    assert pattern[ball].std() > 0


def test_what_is_read_depends_on_what_is_told(density: np.ndarray, ball: np.ndarray, net: Path) -> None:
    blind, told = (prepared(density, ball, reported, net).notes()["condition"][-1] for reported in (None, 4.0))
    assert blind != told


def test_moving_the_molecule_moves_the_pattern(density: np.ndarray, ball: np.ndarray, net: Path) -> None:
    still = prepared(density, ball, folder=net)
    moved = prepared(*(np.roll(values, SHIFT, (0, 1, 2)) for values in (density, ball)), folder=net)
    first, second = (np.asarray(scratch.open(PATTERN)[...]) for scratch in (still, moved))
    np.testing.assert_allclose(np.roll(second, [-a for a in SHIFT], (0, 1, 2))[ball], first[ball], atol=0.05)


@pytest.mark.parametrize("change", ["turned", "moved"])
def test_what_is_told_is_the_same_however_a_map_is_turned_or_moved(density, ball: np.ndarray, change: str) -> None:
    """The molecule lies off the middle, so that no lattice of the box's corners would do."""
    off = [np.roll(values, (2, 1, -3), (0, 1, 2)) for values in (density, ball)]
    done = {
        "turned": lambda values: np.ascontiguousarray(np.rot90(values, axes=(0, 2))),
        "moved": lambda values: np.roll(values, (3, 3, 3), (0, 1, 2)),
    }[change]
    still, changed = (np.array(prepared(*maps).notes()["condition"]) for maps in (off, map(done, off)))
    of_molecule = np.r_[:NYQUIST, KNOWN:SHOWN]
    np.testing.assert_allclose(changed[of_molecule], still[of_molecule], atol=1e-4)
    np.testing.assert_allclose(changed, still, atol=0.1)  # windows beside it are as many as the box has room for


@pytest.mark.parametrize("size", [1.5, 1.3], ids=["on its own voxels", "resampled"])
@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (0, 2)])
def test_a_map_that_is_turned_is_read_alike(density, ball: np.ndarray, net: Path, axes: tuple[int, int], size) -> None:
    """In a box that is no cube, whose molecule is nearer to some faces than to others, and reaches one."""
    part = (slice(14, 93), slice(0, 75), slice(29, 90))
    turned = [np.ascontiguousarray(np.rot90(values[part], axes=axes)) for values in (density, ball)]
    still, changed = (
        prepared(density[part], ball[part], folder=net, size=size),
        prepared(*turned, folder=net, size=size),
    )
    one, other = (np.array(scratch.notes()["condition"]) for scratch in (still, changed))
    np.testing.assert_allclose(other, one, atol=1e-3)
    first, second = (np.asarray(scratch.open(PATTERN)[...]) for scratch in (still, changed))
    needed = np.asarray(still.open(NEEDED)[...]) > 0
    np.testing.assert_allclose(np.rot90(second, -1, axes)[needed], first[needed], atol=1e-3)


@pytest.mark.parametrize("size", [1.3, 1.9])
@pytest.mark.parametrize("inner", [(slice(25, 72),) * 3, (slice(21, 74), slice(36, 89), slice(21, 74))])
def test_a_padded_box_tells_nothing_where_it_is_resampled_either(density, ball, net: Path, size, inner) -> None:
    """Of an odd number of voxels, so that coarser ones hold some of the map and some of what it was padded with.

    The molecule ends within the box, or reaches one of its faces.
    """
    tight = prepared(density[inner], ball[inner], folder=net, size=size)
    padded = prepared(np.pad(density[inner], 15), np.pad(ball[inner], 15), folder=net, size=size)
    one, other = (np.array(scratch.notes()["condition"]) for scratch in (tight, padded))
    np.testing.assert_allclose(other, one, atol=1e-4)


def test_a_masked_map_tells_the_same_whatever_its_box_was_padded_to(density: np.ndarray, net: Path) -> None:
    """Its windows reach beyond a tight box, in which there is nothing either."""
    inside = np.abs(np.indices(GRID.shape) - 47.5).sum(0) < 22
    inner = (slice(25, 71),) * 3
    tight, wide = (
        prepared(np.pad((density * inside)[inner], width), np.pad(inside[inner], width), folder=net)
        for width in (0, 17)
    )
    one, other = (np.array(scratch.notes()["condition"]) for scratch in (tight, wide))
    np.testing.assert_allclose(other, one, atol=1e-4)
    first, second = (np.asarray(scratch.open(PATTERN)[...]) for scratch in (tight, wide))
    np.testing.assert_allclose(second[(slice(17, 63),) * 3][inside[inner]], first[inside[inner]], atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 4.0])
def test_what_a_box_is_padded_with_tells_nothing(
    density: np.ndarray, ball: np.ndarray, net: Path, value: float
) -> None:
    """Of a tight crop: there is little room beside its molecule."""
    inner = (slice(24, 72),) * 3
    tight = prepared(density[inner], ball[inner], folder=net)
    padded = prepared(np.pad(density[inner], 16, constant_values=value), np.pad(ball[inner], 16), folder=net)
    one, other = (np.array(scratch.notes()["condition"]) for scratch in (tight, padded))
    np.testing.assert_allclose(other, one, atol=1e-4)
    for name in (DENSITY, PATTERN):
        first, second = (np.asarray(scratch.open(name)[...]) for scratch in (tight, padded))
        np.testing.assert_allclose(second[(slice(16, 64),) * 3][ball[inner]], first[ball[inner]], atol=1e-3)
    assert not np.asarray(padded.open(DENSITY)[...])[:16].any()


def test_a_net_that_reads_no_pattern_is_given_none(density: np.ndarray, ball: np.ndarray) -> None:
    told = told_contract(patterned=False)
    assert inputs_of(told) == (DENSITY, NEEDED)
    assert inputs_of(replace(told, patterned=True)) == (DENSITY, NEEDED, PATTERN)
    scratch = prepared(density, ball, patterned=False)
    assert scratch.notes()["condition"][SHOWN : SHOWN + 2] == [0, 0]
    assert len(scratch.notes()["condition"]) == LENGTH + 1  # as in training
