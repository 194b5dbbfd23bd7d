"""Batches are the same bytes from any number of workers, threads or processes; nothing is cut twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader

from emres.errors import MapError
from emres.model.augment import USUAL
from emres.model.cut import CutPlan
from emres.model.loader import Batch, PatchStream, StreamPlan, patch_batches, shuffled
from emres.model.patch_source import Source
from emres.model.patch_spec import Cells, EpochPlan
from tests.model.test_cut import source
from tests.model.test_epoch import Entry
from tests.volume.blas import blas_threads

TOY = source()
ROWS = tuple(Entry(f"e{k}", resolution=3.0 + k, densities=("map",)) for k in range(5))


@dataclass
class Memory:
    """Five entries in memory; opens as itself and counts."""

    rows: tuple[Entry, ...] = ROWS
    opened: list[int] = field(default_factory=list)
    broken: int = -1

    def open(self) -> Memory:
        return self

    def source(self, row: int) -> Source:
        self.opened.append(row)
        if row == self.broken:
            raise MapError(f"{self.rows[row].entry} has vanished")
        return replace(TOY, name=self.rows[row].entry)

    def cells(self, row: int) -> Cells:
        corners = np.stack(np.meshgrid(*[np.arange(6, 10)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) * 4
        return Cells(corners + row, 4, (60, 66, 54))


def stream(patches: int = 70, cut: CutPlan | None = None, **changes: int) -> PatchStream:
    epoch = EpochPlan(patches, seed=1, visit=4, rotations=True)
    usual = cut or CutPlan(8, voxel_size=1.5, augmentation=USUAL)
    return PatchStream(Memory(), epoch, usual, StreamPlan(8, 16, **changes))  # type: ignore[arg-type]


def same(first: list[Batch], second: list[Batch]) -> bool:
    pairs = [zip(one, two, strict=True) for one, two in zip(first, second, strict=True)]
    return all(torch.equal(a, b) for pair in pairs for a, b in pair)


@pytest.fixture(scope="module")
def expected() -> list[Batch]:
    return list(stream())


def test_a_batch_is_five_tensors(expected: list[Batch]) -> None:
    assert len(expected) == len(stream()) == 9
    first, last = expected[0], expected[-1]
    for cubes in first[:3]:
        assert (cubes.shape, cubes.dtype) == ((8, 1, 8, 8, 8), torch.float32)
    assert last.density.shape[0] == 70 - 8 * 8
    assert first.voxel_size.tolist() == pytest.approx([1.5] * 8)
    assert len({int(row) for row in first.row}) > 1
    dropped = list(stream(drop_last=True))
    assert [len(batch.row) for batch in dropped] == [8] * 8


def test_no_patch_comes_twice(expected: list[Batch]) -> None:
    seen = {cube.numpy().tobytes() for batch in expected for cube in batch.density}
    assert len(seen) == 70


@pytest.mark.timeout(60)
@pytest.mark.parametrize("threads", [0, 1, 2, 3])
def test_threads_give_the_same_batches(expected: list[Batch], threads: int) -> None:
    assert same(list(patch_batches(stream(), threads)), expected)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_forked_workers_give_the_same_batches(expected: list[Batch], workers: int) -> None:
    context = "fork" if workers else None
    loader = DataLoader(stream(), batch_size=None, num_workers=workers, multiprocessing_context=context)
    assert len(loader) == 9
    assert same(list(loader), expected)


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 90), st.integers(1, 7))
def test_the_workers_batches_are_the_whole_epoch(patches: int, workers: int) -> None:
    one = stream(patches, CutPlan(4))
    apart: list[Iterator[Batch]] = [one.batches(k, workers) for k in range(workers)]
    together = [next(apart[number % workers]) for number in range(len(one))]
    assert all(next(rest, None) is None for rest in apart)
    assert same(together, list(one))


def test_two_workers_do_not_open_entries_for_each_other() -> None:
    def cut_by(workers: int) -> int:
        total = 0
        for worker in range(workers):
            one = stream(70, CutPlan(4))
            list(one.batches(worker, workers))
            total += len(one.opener.opened)  # type: ignore[attr-defined]
        return total

    assert cut_by(2) == cut_by(4) == cut_by(1)


@pytest.mark.timeout(60)
def test_another_epoch_reaches_workers_that_live_on(expected: list[Batch]) -> None:
    one = stream(70)
    loader = DataLoader(one, batch_size=None, num_workers=1, persistent_workers=True, multiprocessing_context="fork")
    first = list(loader)
    one.set_epoch(1)
    second = list(loader)
    one.set_epoch(0)
    assert same(first, expected)
    assert not same(second, expected)
    assert same(list(loader), expected)


class OneThread(Memory):
    """Breaks where numpy's products have more threads than one."""

    def source(self, row: int) -> Source:
        if blas_threads() != {1}:
            raise MapError(f"products have {blas_threads()} threads")
        return super().source(row)


@pytest.mark.parametrize("batches", [iter, patch_batches, partial(patch_batches, threads=0)])
def test_numpys_products_keep_to_one_thread_while_patches_are_cut(batches: Callable[..., Iterator[Batch]]) -> None:
    one = stream()
    one.opener = OneThread()
    with threadpool_limits(2, user_api="blas"):
        cutting = batches(one)
        next(cutting)
        assert blas_threads() == {1}
        cutting.close()  # type: ignore[attr-defined]
        assert blas_threads() == {2}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_loaders_processes_keep_numpys_products_to_one_thread(context: str) -> None:
    one = stream()
    one.opener = OneThread()
    with threadpool_limits(2, user_api="blas"):
        loader = DataLoader(one, batch_size=None, num_workers=2, multiprocessing_context=context)
        assert len(list(loader)) == len(one)
        assert blas_threads() == {2}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("threads", [0, 2])
def test_what_goes_wrong_in_a_thread_is_told(threads: int) -> None:
    one = stream()
    one.opener.broken = 3  # type: ignore[attr-defined]
    with pytest.raises(MapError, match="e3 has vanished"):
        list(patch_batches(one, threads))


@pytest.mark.timeout(60)
def test_a_trainer_that_stops_early_leaves_no_thread() -> None:
    before = threading.active_count()
    batches = patch_batches(stream(), 2)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@given(st.integers(0, 200), st.integers(1, 50), st.integers(0, 5))
def test_a_buffer_gives_back_everything_once_and_never_looks_farther_than_it_holds(
    n: int, held: int, seed: int
) -> None:
    order = shuffled(n, held, np.random.default_rng(seed))
    assert sorted(order) == list(range(n))
    assert all(entered < k + held for k, entered in enumerate(order))
