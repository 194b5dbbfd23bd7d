from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from emres.run import worker
from emres.run.worker import in_turn


def test_a_worker_computes_no_more_at_once_than_it_has_cores_and_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_turns", threading.BoundedSemaphore(3))
    lock, now, most = threading.Lock(), [0], [0]

    def work(number: int) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        if number == 5:
            raise ZeroDivisionError
        return number

    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(in_turn, work, number) for number in range(30)]
    failed = [future for future in futures if future.exception()]
    assert [future.result() for future in futures if future not in failed] == [n for n in range(30) if n != 5]
    assert most[0] == 3
    assert len(failed) == 1
