"""Politeness and patience, on a clock of our own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emres.archive.manners import Limiter, Patience, TransientError, persist, seconds_to_wait
from emres.errors import ArchiveError

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_requests_begin_no_more_often_than_the_rate() -> None:
    clock, begun = Clock(), []
    limiter = Limiter(3, 4, clock=clock, sleep=clock.sleep)
    for _ in range(10):
        with limiter.slot():
            begun.append(clock.now)
    assert begun == pytest.approx([i / 3 for i in range(10)])


def test_no_more_connections_are_open_than_allowed() -> None:
    limiter, lock = Limiter(1e6, 4), threading.Lock()
    open_now, most = 0, 0
    gate = threading.Barrier(4)

    def connect(_: int) -> None:
        nonlocal open_now, most
        with limiter.slot():
            with lock:
                open_now += 1
                most = max(most, open_now)
            gate.wait(10)
            with lock:
                open_now -= 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(connect, range(12)))
    assert most == 4


def test_a_slot_is_given_back_after_an_error() -> None:
    limiter = Limiter(1e6, 1)
    for _ in range(3):
        with pytest.raises(ValueError), limiter.slot():
            raise ValueError


@given(st.integers(1, 40), st.none() | st.floats(0, 1e9))
def test_no_delay_is_longer_than_the_longest(failures: int, retry_after: float | None) -> None:
    patience = Patience()
    assert 0 < patience.delay(failures, retry_after) <= patience.longest_delay
    if retry_after is not None:
        assert patience.delay(failures, retry_after) >= min(retry_after, patience.longest_delay)


def test_delays_double_and_differ() -> None:
    patience = Patience(first_delay=1, longest_delay=1000)
    for failures in range(1, 8):
        delays = {patience.delay(failures) for _ in range(20)}
        assert all(2 ** (failures - 2) <= delay <= 2 ** (failures - 1) for delay in delays)
        assert len(delays) > 10


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7),
        ("0", 0),
        ("-5", None),
        ("inf", None),
        ("soon", None),
        ("Mon, 01 Jan 2024 12:01:30 GMT", 90),
        ("Mon, 01 Jan 2024 11:00:00 GMT", 0),
        ("Mon, 99 Foo 2024", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert seconds_to_wait(header, NOON) == seconds


def failing(times: int, retry_after: float | None = None):  # type: ignore[no-untyped-def]
    left = iter(range(times))

    def action() -> str:
        if next(left, None) is not None:
            error = TransientError("the server is busy", got="HTTP 503", cure="wait")
            error.retry_after = retry_after
            raise error
        return "done"

    return action


def test_persisting_outlasts_failures_and_waits_in_between() -> None:
    waits: list[float] = []
    assert persist(failing(3, 7), Patience(tries=4), sleep=waits.append) == "done"
    assert waits == [7, 7, 7]


def test_persisting_ends_with_the_reason() -> None:
    with pytest.raises(ArchiveError, match=r"the server is busy: got HTTP 503, 4 times in a row; wait") as caught:
        persist(failing(9), Patience(tries=4), sleep=lambda _: None)
    assert not isinstance(caught.value, TransientError)


def test_progress_begins_the_count_of_failures_anew() -> None:
    bytes_so_far = iter(range(100))
    assert persist(failing(20), Patience(tries=2), reached=lambda: next(bytes_so_far), sleep=lambda _: None) == "done"


def test_other_errors_are_not_repeated() -> None:
    calls = []

    def action() -> None:
        calls.append(1)
        raise ArchiveError("refused")

    with pytest.raises(ArchiveError, match="refused"):
        persist(action, Patience(), sleep=lambda _: None)
    assert len(calls) == 1
