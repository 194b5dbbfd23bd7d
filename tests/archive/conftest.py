"""What several tests of the archive share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.archive import hostile


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[hostile.Server]:
    """A local HTTP server that misbehaves as told."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    book = hostile.Server()
    running = hostile.start(book)
    yield book
    book.stopping.set()
    running.shutdown()
    running.server_close()
