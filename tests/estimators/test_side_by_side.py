from __future__ import annotations

import multiprocessing

import pytest
import torch

from emres.estimators.side_by_side import side_by_side

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    torch.set_num_threads(request.param)
    return request.param


def test_answers_come_in_the_order_of_the_jobs(threads):
    with side_by_side(CPU) as each:
        assert each(lambda n: n * n, range(20)) == [n * n for n in range(20)]


def test_jobs_have_one_thread_each_and_all_are_given_back(threads):
    with side_by_side(CPU) as each:
        assert set(each(lambda _: torch.get_num_threads(), range(8))) == {1}
    assert torch.get_num_threads() == threads


def test_threads_are_given_back_after_an_error(threads):
    with pytest.raises(ZeroDivisionError), side_by_side(CPU) as each:
        each(lambda n: 1 / n, [1, 0])
    assert torch.get_num_threads() == threads


def squares() -> list[int]:
    torch.set_num_threads(2)
    with side_by_side(CPU) as each:
        return list(each(lambda n: n * n, range(4)))


def test_threads_stay_and_a_forked_process_starts_its_own():
    assert squares() == squares()
    with multiprocessing.get_context("fork").Pool(1) as forked:
        assert forked.apply_async(squares).get(timeout=60) == squares()
