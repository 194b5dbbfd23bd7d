"""What a local worker process does before its first task (Dask preloads this module)."""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C to the client: it reaches every process of the terminal, but one of them decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
