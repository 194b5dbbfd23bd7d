"""Freed memory goes back to the system where the C library can be asked to, and nothing happens elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from emres.run import heap
from emres.run.heap import give_back


def resident() -> int:
    """Return the resident memory of this process, bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(heap._trim() is None, reason="not glibc")
def test_pieces_between_others_go_back() -> None:
    pieces = [np.ones(12_000, dtype=np.float32) for _ in range(4000)]  # 48 kB: none is large enough to be mapped
    kept = pieces[::50]
    del pieces
    before = resident()
    give_back()
    assert resident() < before - 100 * 2**20
    assert all(piece.all() for piece in kept)


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    heap._trim.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert heap._trim() is None
    give_back()
    heap._trim.cache_clear()
