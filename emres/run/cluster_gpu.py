"""One worker for every GPU of this machine, each of which sees that GPU alone. No RAPIDS."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING

from emres.errors import EmresError, UsageError
from emres.run.cluster_local import cores, dashboard_address, nanny_options

if TYPE_CHECKING:
    from distributed import Client

    from emres.run.cluster_spec import ClusterSpec

# What a worker with a GPU offers, and a task that needs one asks for.
RESOURCE = {"GPU": 1}


def start_gpu(spec: ClusterSpec) -> Client:
    """Start one worker a GPU on this machine and return a client; closing it ends them.

    The environment is set before a worker's process starts, so that torch never sees another device, and a worker
    that was killed comes back with the same one.

    Raises
    ------
    EmresError
        If there is no GPU.
    UsageError
        If a GPU is named twice.
    """
    from distributed import Nanny, Scheduler, SpecCluster

    from emres.run.cluster_owned import owning

    devices = spec.devices or visible_devices()
    _check(devices)
    threads = spec.threads or max(1, cores() // len(devices))
    options = {"host": "127.0.0.1", "resources": RESOURCE, "memory_limit": spec.memory, "silence_logs": 50}
    workers = {
        f"gpu-{device}": {
            "cls": Nanny,
            "options": nanny_options(threads, {"CUDA_VISIBLE_DEVICES": device}, **options),
        }
        for device in devices
    }
    scheduler = {
        "cls": Scheduler,
        "options": {"host": "127.0.0.1", "port": 0, "dashboard_address": dashboard_address(spec.dashboard)},
    }
    return owning(lambda: SpecCluster(workers=workers, scheduler=scheduler, silence_logs=50, name="gpu"))


def _check(devices: Sequence[str]) -> None:
    if not devices:
        raise EmresError(
            "no GPU is visible here",
            got=f"CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')}",
            cure="use --cluster local, or name devices: gpu:0,1",
        )
    if len(set(devices)) != len(devices):
        raise UsageError("a GPU is named twice", got=",".join(devices), expected="one worker a GPU")


def visible_devices() -> tuple[str, ...]:
    """Return the GPUs that this process may use: those of ``CUDA_VISIBLE_DEVICES``, else all that the driver lists.

    torch is not asked: a process that has touched CUDA keeps the devices it saw then.
    """
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        words = [word.strip() for word in told.split(",")]
        # CUDA stops at the first that is none.
        return tuple(words[: words.index("-1")] if "-1" in words else [word for word in words if word])
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return listed_devices(listed.stdout)


def listed_devices(text: str) -> tuple[str, ...]:
    r"""Return the devices in what ``nvidia-smi -L`` prints: a GPU by its number, its slices (MIG) by their UUIDs.

    Examples
    --------
    >>> listed_devices("GPU 0: NVIDIA A100 (UUID: GPU-5c89)\nGPU 1: NVIDIA A100 (UUID: GPU-77ab)")
    ('0', '1')
    """
    devices: list[list[str]] = []
    for line in text.splitlines():
        if whole := re.match(r"GPU (\d+):", line):
            devices.append([whole[1]])
        elif (part := re.match(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)", line)) and devices:
            devices[-1].append(part[1])
    return tuple(name for device in devices for name in (device[1:] or device))
