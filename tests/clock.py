"""How much slower this machine is than when it has nothing else to do."""

from __future__ import annotations

import time

_SPIN = 0.2  # seconds of the processor


def slowdown() -> float:
    """By how much a thread that only computes takes longer than its share of the processor: 1 on a quiet machine."""
    wall, cpu = time.perf_counter(), time.thread_time()
    while time.thread_time() - cpu < _SPIN:
        pass
    return max(1.0, (time.perf_counter() - wall) / (time.thread_time() - cpu))
