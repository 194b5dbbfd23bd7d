"""Where the processes of a training meet, and the device of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from emres.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch.distributed import Store  # type: ignore[attr-defined]

    from emres.model.ranks import Ranks

_TIMEOUT = timedelta(minutes=30)  # that processes wait for each other
_AS_LONG_AS_IT_TAKES = timedelta(days=365)  # the end of the first ends the wait, too
_READ = "maps are read"


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


def torchrun_place() -> tuple[int, int] | None:
    """Return which of how many processes this one is, if torchrun, or whoever sets what it sets, started it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    return (int(os.environ["RANK"]), size) if size > 1 and "RANK" in os.environ else None


def torchrun_meeting(rank: int, size: int, read: Callable[[], None]) -> Store:
    """Return where processes that torchrun started meet, once the first has read what all need.

    Parameters
    ----------
    rank, size : int
        Which of how many this process is.
    read : callable
        What the first does. It may take hours; if it fails, torchrun ends all.
    """
    from torch.distributed.rendezvous import rendezvous

    if rank == 0:
        read()
    meeting = rendezvous("env://", rank, size, timeout=_AS_LONG_AS_IT_TAKES)
    store: Store = next(iter(meeting))[0]
    if rank == 0:
        store.set(_READ, "")
    else:
        store.wait([_READ], _AS_LONG_AS_IT_TAKES)
    return store


@contextmanager
def connected(meeting: str | Store, rank: int, size: int, device: torch.device) -> Iterator[Ranks]:
    """Connect the processes, and part from them afterwards."""
    import torch
    import torch.distributed as dist

    from emres.model.ranks import Ranks

    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    where: dict[str, Any] = {"init_method" if isinstance(meeting, str) else "store": meeting}
    dist.init_process_group(backend, **where, rank=rank, world_size=size, timeout=_TIMEOUT)
    try:
        yield Ranks(rank, size, device)
    finally:
        with suppress(RuntimeError):
            dist.destroy_process_group()
