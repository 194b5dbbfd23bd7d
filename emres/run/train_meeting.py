"""Where the processes of a training meet, and the device of each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from emres.errors import UsageError

if TYPE_CHECKING:
    import torch

    from emres.model.ranks import Ranks

_TIMEOUT = timedelta(minutes=30)  # that processes wait for each other: under torchrun the first reads maps


def device_of(name: str, rank: int = 0) -> torch.device:
    """Return the device of a process: of several GPUs each process takes one.

    Raises
    ------
    UsageError
        If there is no such device.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError("unknown device", got=name, expected="auto, cpu or cuda") from error
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not torch.cuda.is_available()):
        raise UsageError(f"there is no {name} here", cure="use --device cpu")
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", rank % torch.cuda.device_count())
    return device


@contextmanager
def connected(meeting: str, rank: int, size: int, device: torch.device) -> Iterator[Ranks]:
    """Connect the processes, and part from them afterwards."""
    import torch
    import torch.distributed as dist

    from emres.model.ranks import Ranks

    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=size, timeout=_TIMEOUT)
    try:
        yield Ranks(rank, size, device)
    finally:
        with suppress(RuntimeError):
            dist.destroy_process_group()
