"""How much memory an estimator takes, in float32 volumes, its input with it: each in a process of its own.

What it takes beside the volume whatever its size (a program's code read on its first call, threads, plans of
transforms) a call on a small map has taken before.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import peak_bytes
from benchmarks.report import Row
from emres.volume.threads import torch_threads

Array = np.ndarray[Any, Any]
# What is called, and how many volumes it is given.
INPUTS = {"dense": 2, "relion": 2, "blocres": 3, "monores, halves": 3, "monores, one map": 2, "resmap": 2}
WANTED = 12.0
_SMALL = 48


def memory_rows(side: int) -> list[Row]:
    """Return the peak memory of each estimator on a map of noise, in float32 volumes."""
    return [_row(name, side) for name in INPUTS]


def _row(name: str, side: int) -> Row:
    command = [sys.executable, "-m", "benchmarks.estimator_memory", name, str(side)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    facts = json.loads(told.stdout)
    how = f"noise, 2 threads; {INPUTS[name]} of them its input; {facts['megabytes']:.0f} MB"
    return Row(f"memory of {name}, {side}^3", facts["volumes"], WANTED, "volumes", how)


def call_and_tell(name: str, side: int) -> dict[str, float]:
    """Call an estimator, a small map first, and return the peak of the second call with its input."""
    call = _calls()[name]
    with torch_threads(2):
        call(*_halves(_SMALL), _ball(_SMALL))
        inputs = (*_halves(side), _ball(side))
        before = peak_bytes()
        call(*inputs)
    given = INPUTS[name] * inputs[0].nbytes
    taken = peak_bytes() - before + given
    return {"volumes": taken / inputs[0].nbytes, "megabytes": taken / 1e6}


def _calls() -> dict[str, Callable[[Array, Array, Array], object]]:
    from emres.estimators.fsc import dense_fsc
    from emres.estimators.fsc_blocres import blocres_fsc
    from emres.estimators.fsc_relion import relion_fsc
    from emres.estimators.monores import monores, monores_halves
    from emres.estimators.resmap import resmap

    return {
        "dense": lambda first, second, _: dense_fsc(first, second, 1.0),
        "relion": lambda first, second, _: relion_fsc(first, second, 1.0, sampling=min(25.0, len(first) / 4)),
        "blocres": lambda first, second, mask: blocres_fsc(first, second, 1.0, mask=mask, step=3),
        "monores, halves": lambda first, second, mask: monores_halves(first, second, 1.0, mask),
        "monores, one map": lambda first, _, mask: monores(first, 1.0, mask),
        "resmap": lambda first, _, mask: resmap(first, 1.0, mask, coarsest=5.0),
    }


def _halves(side: int) -> list[Array]:
    # float32 from the start: nothing larger than these raises the peak before the call.
    rng = np.random.default_rng(0)
    return [rng.standard_normal((side,) * 3, dtype=np.float32) for _ in range(2)]


def _ball(side: int) -> Array:
    axis = np.linspace(-1, 1, side, dtype=np.float32) ** 2
    return (axis[:, None, None] + axis[:, None] + axis < 0.36).astype(np.float32)


if __name__ == "__main__":
    print(json.dumps(call_and_tell(sys.argv[1], int(sys.argv[2]))))
