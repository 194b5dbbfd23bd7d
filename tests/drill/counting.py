"""Preloaded by the drill's workers: every block that is computed is noted, with the process that did it, and held."""

from __future__ import annotations

import os
import time
from typing import Any

from emres.run import blockwise


def dask_setup(worker: Any) -> None:
    """Wrap what computes a block."""
    real = blockwise.write_block

    def counting(job: blockwise.BlockJob, index: Any) -> Any:
        _note("began", job.label)
        while os.path.exists(os.environ["EMRES_DRILL_HOLD"]):  # so that it is under way when something is killed
            time.sleep(0.02)
        found = real(job, index)
        _note("ended", job.label)
        return found

    blockwise.write_block = counting


def _note(what: str, label: str) -> None:
    with open(os.environ["EMRES_DRILL_LOG"], "a") as file:
        file.write(f"{what} {label} {os.getpid()}\n")
