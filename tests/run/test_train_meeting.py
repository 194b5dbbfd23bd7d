"""Where processes of a training meet: torchrun's wait for the first to have read, however long that takes."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from emres.run import train_meeting
from emres.run.train_meeting import torchrun_meeting, torchrun_place


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torchrun sets, and processes that wait for each other for a tenth of a second."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": 1, "WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(train_meeting, "_TIMEOUT", timedelta(seconds=0.1))


def test_the_others_wait_while_the_first_reads(torchrun: None) -> None:
    happened = []

    def read() -> None:
        time.sleep(1)
        happened.append("read")

    def other() -> None:
        torchrun_meeting(1, 2, lambda: happened.append("the other read, too"))
        happened.append("the other went on")

    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(other)
        first = torchrun_meeting(0, 2, read)  # held: it serves the other
        waiting.result(timeout=60)
    assert happened == ["read", "the other went on"]
    del first


@pytest.mark.parametrize(("missing", "place"), [("", (1, 2)), ("RANK", None), ("WORLD_SIZE", None)])
def test_a_process_knows_its_place(
    torchrun: None, monkeypatch: pytest.MonkeyPatch, missing: str, place: tuple[int, int] | None
) -> None:
    monkeypatch.delenv(missing, raising=False)
    assert torchrun_place() == place
