from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from emres.archive.scratch import DiskScratch, MemoryScratch
from emres.errors import MapError
from emres.model.inference import BlockPredictor, make_predictor
from emres.run.blockwise import DONE, BlockJob, blocks_to_do, create_target, lazy_blocks, run_blocks, write_block
from emres.volume.blocks import BlockPlan, Box, plan_blocks
from tests.run.conftest import GRID, toy_density

SHAPE = (100, 84, 92)


@dataclass(frozen=True)
class Neighbourhood:
    """Mean over 5^3 voxels: what it gives depends on its halo of 2, and on being clipped at the faces."""

    def __call__(self, values: np.ndarray, core: object = None) -> np.ndarray:
        from scipy import ndimage

        return ndimage.uniform_filter(values, 5, mode="constant")


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    return np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)


def job_on(scratch, values: np.ndarray, plan: BlockPlan, function=None) -> BlockJob:
    scratch.create("values", plan.shape, "float32")[...] = values
    job = BlockJob(function or Neighbourhood(), plan, scratch, ("values",), "answer")
    create_target(job)
    return job


@pytest.fixture(params=["memory", "disk"])
def scratch(request: pytest.FixtureRequest, tmp_path: Path):
    return MemoryScratch() if request.param == "memory" else DiskScratch(tmp_path / "scratch")


@pytest.mark.parametrize("core", [64, 32, 128])
def test_blockwise_equals_whole(scratch, values: np.ndarray, core: int) -> None:
    job = job_on(scratch, values, plan_blocks(SHAPE, 64 if core == 32 else core, halo=4, multiple=4))
    assert sorted(run_blocks(job)) == sorted(block.index for block in job.plan)
    np.testing.assert_allclose(scratch.open("answer")[...], Neighbourhood()(values), atol=1e-6)


def test_lazy_equals_run(values: np.ndarray) -> None:
    plan = plan_blocks(SHAPE, 32, halo=4, multiple=4)
    job = job_on(MemoryScratch(), values, plan)
    list(run_blocks(job))
    lazy = lazy_blocks(Neighbourhood(), [da.from_array(values)], plan)
    assert lazy.chunks == plan.chunks
    assert np.array_equal(lazy.compute(), job.scratch.open("answer"))


def net_blocks(toy_model: Path, core: int) -> tuple[BlockPlan, BlockPredictor, np.ndarray, np.ndarray]:
    density = toy_density()
    predictor = make_predictor(toy_model, memory_bytes=2**28)
    return plan_blocks(GRID.shape, core, halo=24, multiple=4), predictor, density, density > 0.5


def test_lazy_equals_run_bit_for_bit_with_the_net(toy_model: Path) -> None:
    plan, predictor, density, needed = net_blocks(toy_model, 36)
    scratch = MemoryScratch()
    scratch.create("needed", GRID.shape, "bool")[...] = needed
    scratch.create("density", GRID.shape, "float32")[...] = density
    job = BlockJob(predictor, plan, scratch, ("density", "needed"), "answer")
    create_target(job)
    list(run_blocks(job))
    lazy = lazy_blocks(predictor, [da.from_array(density), da.from_array(needed)], plan)
    assert np.array_equal(lazy.compute(scheduler="sync"), scratch.open("answer"))


@pytest.mark.parametrize("core", [24, 40, 56])
def test_blockwise_equals_whole_with_the_net(toy_model: Path, core: int) -> None:
    plan, predictor, density, needed = net_blocks(toy_model, core)
    lazy = lazy_blocks(predictor, [da.from_array(density), da.from_array(needed)], plan)
    np.testing.assert_allclose(lazy.compute(scheduler="sync"), predictor(density, needed), rtol=2e-5)


def test_slicing_a_lazy_array_computes_only_the_blocks_under_the_slice(values: np.ndarray) -> None:
    calls = []

    def counting(block: np.ndarray, core: Box) -> np.ndarray:
        calls.append(block.shape)
        return block

    lazy = lazy_blocks(counting, [da.from_array(values)], plan_blocks(SHAPE, 32, halo=4, multiple=4))
    assert calls == []
    lazy[:10, :10, :10].compute(scheduler="sync")
    assert calls == [(36, 36, 36)]


def test_the_net_computes_nothing_for_the_halo_of_a_block(toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The molecule lies in one block only: its neighbours see it in their halo and do nothing about it."""
    from emres.model import inference

    boxes = []
    real = inference._forward
    monkeypatch.setattr(inference, "_forward", lambda *given: boxes.append(given[1].shape) or real(*given))
    plan, predictor, density, _ = net_blocks(toy_model, 36)
    needed = np.zeros(GRID.shape, dtype=bool)
    needed[:36, :36, :36] = True
    lazy = lazy_blocks(predictor, [da.from_array(density), da.from_array(needed)], plan)
    assert ((lazy.compute(scheduler="sync") > 0) == needed).all()
    assert len(boxes) == 1


def test_a_resumed_run_computes_nothing(scratch, values: np.ndarray) -> None:
    job = job_on(scratch, values, plan_blocks(SHAPE, 64, halo=4))
    list(run_blocks(job))
    assert blocks_to_do(job) == []
    assert list(run_blocks(job)) == []


def test_an_interrupted_run_goes_on_with_the_blocks_that_are_not_done(scratch, values: np.ndarray) -> None:
    job = job_on(scratch, values, plan_blocks(SHAPE, 64, halo=4))
    first = next(run := run_blocks(job))
    run.close()
    assert first not in blocks_to_do(job)
    assert sorted([first, *run_blocks(job)]) == sorted(block.index for block in job.plan)
    np.testing.assert_allclose(scratch.open("answer")[...], Neighbourhood()(values), atol=1e-6)


def test_a_block_is_marked_done_only_after_its_answer_is_written(scratch, values: np.ndarray) -> None:
    def broken(block: np.ndarray, core: Box) -> np.ndarray:
        raise MapError("no answer")

    job = job_on(scratch, values, plan_blocks(SHAPE, 64, halo=4), broken)
    with pytest.raises(MapError):
        list(run_blocks(job))
    assert not np.asarray(scratch.open(DONE)[...]).any()


def test_writing_a_block_twice_gives_the_same_bytes(tmp_path: Path, values: np.ndarray) -> None:
    job = job_on(DiskScratch(tmp_path / "s"), values, plan_blocks(SHAPE, 64, halo=4))
    write_block(job, (0, 0, 0))
    files = {path: path.read_bytes() for path in (tmp_path / "s" / "answer").rglob("*") if path.is_file()}
    write_block(job, (0, 0, 0))
    assert files == {path: path.read_bytes() for path in (tmp_path / "s" / "answer").rglob("*") if path.is_file()}
