"""A pretended lack of memory: the box is halved until it fits, and the answer is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emres.errors import EmresError
from emres.model import inference
from emres.model.bundle import save_bundle
from emres.model.inference import make_predictor
from emres.model.out_of_memory import halved, is_out_of_memory
from emres.volume.blocks import Box
from tests.model.conftest import contract, lively_net

SHAPE = (16, 16, 192)  # long, so that halves with their halos are smaller


@pytest.fixture
def predictor(tmp_path: Path) -> inference.BlockPredictor:
    save_bundle(tmp_path / "toy", lively_net(), contract(name="toy", version="1", bytes_per_voxel=200), "# toy\n")
    return make_predictor(tmp_path / "toy")


def a_block() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    density = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
    return density, np.ones(SHAPE, dtype=bool)


def scarce(monkeypatch: pytest.MonkeyPatch, error: Exception, most: int) -> list[int]:
    """Raise an error for every box of more voxels than there is memory for; return the sizes that were tried."""
    real, tried = inference._forward, []

    def forward(net: Any, density: Any, *rest: Any) -> Any:
        tried.append(density.size)
        if density.size > most:
            raise error
        return real(net, density, *rest)

    monkeypatch.setattr(inference, "_forward", forward)
    return tried


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_a_box_that_does_not_fit_is_halved_and_the_answer_is_the_same(
    predictor: inference.BlockPredictor, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    whole = predictor(*a_block())
    tried = scarce(monkeypatch, error, most=40_000)
    np.testing.assert_allclose(predictor(*a_block()), whole, rtol=1e-5)
    assert (whole > 0).all()
    assert max(tried) > 40_000
    assert sum(size <= 40_000 for size in tried) >= 2


def test_what_fits_in_no_way_is_told(predictor: inference.BlockPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    scarce(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"), most=0)
    with pytest.raises(EmresError, match="does not hold even the smallest box"):
        predictor(*a_block())


def test_another_error_is_no_lack_of_memory(
    predictor: inference.BlockPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = scarce(monkeypatch, RuntimeError("shapes do not match"), most=0)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        predictor(*a_block())
    assert len(tried) == 1


def test_halves_are_the_box_and_nothing_twice() -> None:
    box = Box((4, 0, 8), (8, 12, 40))
    first, second = halved(box, 4)
    assert np.prod(first.shape) + np.prod(second.shape) == np.prod(box.shape)
    assert (first.start, second.stop) == (box.start, box.stop)
    assert first.stop[2] == second.start[2] == 24
    assert not is_out_of_memory(KeyError("out of memory"))
