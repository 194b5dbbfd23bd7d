"""Torch's threads are this process' and as many as before, whatever happens meanwhile."""

from __future__ import annotations

import pytest
import torch

from emres.volume.threads import torch_threads


@pytest.mark.parametrize("before", [1, 2])
def test_there_are_as_many_threads_afterwards_as_before(before: int) -> None:
    with torch_threads(before):
        with torch_threads(3):
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == before


def test_a_failure_gives_them_back_too() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), torch_threads(before + 1):
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == before
