"""Threads of torch and of numpy's products are as many as before, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from threadpoolctl import threadpool_limits

from emres.volume.threads import one_blas_thread, torch_threads
from tests.volume.blas import blas_threads


@pytest.mark.parametrize("before", [1, 2])
def test_there_are_as_many_threads_afterwards_as_before(before: int) -> None:
    with torch_threads(before):
        with torch_threads(3):
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == before


def failing_within(limit: AbstractContextManager[None], count: Callable[[], set[int]]) -> None:
    with limit:
        assert count() in ({1}, {3})
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("limit", "count"),
    [(lambda: torch_threads(3), lambda: {torch.get_num_threads()}), (one_blas_thread, blas_threads)],
)
def test_a_failure_gives_them_back_too(
    limit: Callable[[], AbstractContextManager[None]], count: Callable[[], set[int]]
) -> None:
    with threadpool_limits(2, user_api="blas"), torch_threads(2):
        with pytest.raises(ZeroDivisionError):
            failing_within(limit(), count)
        assert count() == {2}
