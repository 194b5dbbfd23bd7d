from __future__ import annotations

import numpy as np
import pytest

from emres.archive.scratch import DiskScratch, MemoryScratch
from emres.errors import MapError
from emres.run.masks import mask_slabs
from emres.run.prepare import DENSITY, MASK, NEEDED, PREDICTION, Summary, finest_answer, prepare, restore
from emres.volume.blocks import Box
from emres.volume.boxes import bounding_box
from emres.volume.grid import Grid, as_shape
from emres.volume.pyramid import MemoryPyramid
from emres.volume.resample import fourier_resample
from tests.run.conftest import GRID, toy_density

WORKING = GRID.resampled(1.5)
REACH = 5


@pytest.fixture(params=["memory", "disk"])
def prepared(request: pytest.FixtureRequest, tmp_path):
    scratch = MemoryScratch() if request.param == "memory" else DiskScratch(tmp_path / "scratch")
    source = MemoryPyramid(toy_density(), GRID)
    prepare(source, mask_slabs(source, "auto"), WORKING, scratch, reach=REACH)
    return scratch


def test_density_is_the_map_normalised_and_resampled_as_far_as_the_net_may_look(prepared) -> None:
    notes = prepared.notes()
    expected = fourier_resample((toy_density() - notes["centre"]) / notes["scale"], GRID, WORKING)
    found = np.asarray(prepared.open(DENSITY)[...])
    needed = bounding_box(np.asarray(prepared.open(NEEDED)[...]))
    seen = needed.grown(REACH).clipped(WORKING.shape).slices
    np.testing.assert_allclose(found[seen], expected[seen], atol=2e-5)
    found[seen] = 0
    assert not found.any()


def test_the_normalisation_is_that_of_the_whole_map(prepared) -> None:
    """(The median outside is sampled in maps beyond 100^3; this one is smaller.)"""
    inside = np.asarray(prepared.open(MASK)[...])
    density = toy_density()
    centre = np.median(density[~inside])
    assert prepared.notes()["centre"] == pytest.approx(centre)
    assert prepared.notes()["scale"] == pytest.approx(np.sqrt(np.mean((density[inside] - centre) ** 2)), rel=1e-5)


def test_what_is_needed_is_enough_and_not_much_more(prepared) -> None:
    """Filling the needed voxels with ones and all others with a million gives ones everywhere in the mask."""
    needed = np.asarray(prepared.open(NEEDED)[...])
    prepared.create(PREDICTION, WORKING.shape, "float32")[...] = np.where(needed, np.float32(10), np.float32(1e6))
    mask = np.asarray(prepared.open(MASK)[...])
    for box, resolution in restore(prepared, GRID, WORKING, finest_answer(GRID)):
        np.testing.assert_allclose(resolution[mask[box.slices]], 10, rtol=1e-5)
        assert (resolution[~mask[box.slices]] == 0).all()
    assert needed.mean() < 1.5 * mask.mean() + 0.05


def test_what_comes_back_is_never_finer_than_two_voxels(prepared) -> None:
    prepared.create(PREDICTION, WORKING.shape, "float32")[...] = np.float32(0.1)
    found = np.concatenate([resolution for _, resolution in restore(prepared, GRID, WORKING, finest_answer(GRID))])
    assert set(np.unique(found)) == {np.float32(0), np.float32(2 * 1.9)}


def test_a_smooth_resolution_survives_the_way_back(prepared) -> None:
    z = WORKING.coordinates()["z"]
    ramp = np.broadcast_to((8 + 0.02 * (z - z[0]))[:, None, None], WORKING.shape).astype(np.float32)
    prepared.create(PREDICTION, WORKING.shape, "float32")[...] = ramp
    found = np.concatenate([resolution for _, resolution in restore(prepared, GRID, WORKING, finest_answer(GRID))])
    mask = np.asarray(prepared.open(MASK)[...])
    expected = np.broadcast_to((8 + 0.02 * (GRID.coordinates()["z"] - z[0]))[:, None, None], GRID.shape)
    np.testing.assert_allclose(found[mask], expected[mask], atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_summary_agrees_with_numpy_to_a_hundredth(seed: int) -> None:
    values = np.random.default_rng(seed).gamma(4, 1.5, size=(30, 40, 50)).astype(np.float32)
    values[values < 2] = 0
    summary = Summary()
    for part in values:
        summary.add(part)
    found, inside = summary.result(), values[values > 0]
    assert found["voxels"] == inside.size
    for name, percent in (("p05", 5), ("median", 50), ("p95", 95)):
        assert found[name] == pytest.approx(np.percentile(inside, percent), abs=0.011)


def test_an_empty_answer_is_told() -> None:
    summary = Summary()
    summary.add(np.zeros((4, 4, 4), dtype=np.float32))
    with pytest.raises(MapError, match="no voxel"):
        summary.result()


@pytest.mark.parametrize("size", [1.9, 1.5])
def test_nothing_of_a_map_comes_where_its_box_was_padded(size: float) -> None:
    """Not even in a mask that reaches there, and on other voxels, where a map has no end of its own."""
    padded = np.pad(toy_density(), 20)
    grid = Grid(as_shape(padded.shape), GRID.voxel_size)
    source, working, scratch = MemoryPyramid(padded, grid), grid.resampled_evenly(size), MemoryScratch()
    prepare(source, mask_slabs(source, "none"), working, scratch, reach=REACH)
    density = np.asarray(scratch.open(DENSITY)[...])
    edge = int(19 * 1.9 / size) - 1
    assert not density[:edge].any()
    assert not density[:, :, -edge:].any()
    assert density[edge + 3].std() > 0


def test_a_mask_beside_the_map_is_told() -> None:
    padded = np.pad(toy_density(), 20)
    grid = Grid(as_shape(padded.shape), GRID.voxel_size)
    beside = np.zeros(grid.shape, dtype=bool)
    beside[2:8, 2:8, 2:8] = True
    with pytest.raises(MapError, match="beside the map"):
        prepare(MemoryPyramid(padded, grid), [(Box((0, 0, 0), grid.shape), beside)], grid, MemoryScratch(), reach=REACH)


def test_an_anisotropic_box_with_one_short_axis_goes_through() -> None:
    grid = Grid((40, 6, 17), (0.36, 0.31, 0.5))
    values = np.random.default_rng(2).normal(size=grid.shape).astype(np.float32) + 3
    source, scratch = MemoryPyramid(values, grid), MemoryScratch()
    working = grid.resampled(1.5)
    prepare(source, mask_slabs(source, "none"), working, scratch, reach=REACH)
    assert scratch.open(DENSITY).shape == working.shape
    assert scratch.open(NEEDED).all()
