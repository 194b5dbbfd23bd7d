"""What a worker process does before its first task (Dask preloads this module), and how many it computes at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from emres.run.cluster_local import cores

_turns = threading.BoundedSemaphore(cores())


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C to the client, and take one of the GPUs that a job's workers share.

    Ctrl-C reaches every process of the terminal, but one of them decides what it means.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.environ.get("EMRES_ONE_GPU_EACH"):
        take_own_gpu(str(worker.name))


def take_own_gpu(name: str) -> None:
    """Leave this process one GPU of those that its job has; before anything has touched CUDA.

    Parameters
    ----------
    name : str
        Of the worker: Dask calls the workers of a job JOB-0, JOB-1, …, and keeps the name over a restart.

    Examples
    --------
    >>> os.environ["CUDA_VISIBLE_DEVICES"] = "4,5"
    >>> take_own_gpu("emres-0-1")
    >>> os.environ.pop("CUDA_VISIBLE_DEVICES")
    '5'
    """
    visible = [device for device in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if device]
    number = name.rpartition("-")[2]
    if len(visible) > 1 and number.isdigit():
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[int(number) % len(visible)]


def in_turn(function: Callable[..., Any], *arguments: Any) -> Any:
    """Compute when a core is free: of a worker with more threads than cores, the others wait.

    Threads that wait for the interpreter take it from each other all the time: small maps cost 8.7 ms of processor each
    on one thread, 11.2 on two, and 20.7 on 16 threads of two cores.
    """
    with _turns:
        return function(*arguments)
