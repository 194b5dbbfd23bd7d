"""Where a training runs: here, in several processes of this machine, under torchrun, or on the workers of a cluster."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from emres.errors import EmresError, UsageError
from emres.run.cluster import cores
from emres.run.train import Tell, train_rank
from emres.run.train_config import Training

if TYPE_CHECKING:
    import torch
    from distributed import Client

    from emres.model.ranks import Ranks
    from emres.model.train import Moment

TOPIC = "emres-train"

_TIMEOUT = timedelta(minutes=30)  # that processes wait for each other: the first reads maps that were never read


def no_tell(moment: Moment) -> None:
    """Tell nobody."""


def train_model(training: Training, tell: Tell = no_tell, client: Client | None = None) -> dict[str, Any] | None:
    """Train a net, or go on training it, and write its bundle.

    Under ``torchrun`` every process calls this and takes its part. Otherwise as many processes as the training asks for
    are started beside this one, or one on each of so many workers of a cluster.

    Parameters
    ----------
    training : Training
    tell : callable, optional
        Told of steps made.
    client : distributed.Client, optional

    Returns
    -------
    dict or None
        See :func:`emres.run.train.train_rank`; None in processes that only took part.

    Raises
    ------
    EmresError
        See :func:`emres.run.train.train_rank`.
    """
    if client is not None:
        return _on_cluster(training, client, tell)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ:
        return _under_torchrun(training, tell)
    if training.processes > 1:
        return _beside(training, tell)
    from emres.model.ranks import Ranks

    return train_rank(training, Ranks(device=device_of(training.device)), tell)


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


def _under_torchrun(training: Training, tell: Tell) -> dict[str, Any] | None:
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    device = device_of(training.device, int(os.environ.get("LOCAL_RANK", rank)))
    with _connected("env://", rank, size, device) as ranks:
        found = train_rank(training, ranks, tell)
    return found if rank == 0 else None


def _beside(training: Training, tell: Tell) -> dict[str, Any]:
    """Train here as the first of several processes of this machine."""
    import torch
    from torch import multiprocessing

    size, before = training.processes, torch.get_num_threads()
    threads = max(1, cores() // size)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="emres-train-") as folder:
        meeting, told = f"file://{folder}/meeting", context.SimpleQueue()
        ready = [context.Event() for _ in range(1, size)]
        others = [
            context.Process(target=_take_part, args=(training, rank, meeting, threads, told, event), daemon=True)
            for rank, event in enumerate(ready, start=1)
        ]
        for process in others:
            process.start()
        torch.set_num_threads(threads)
        try:
            _await(others, ready, told)
            with _connected(meeting, 0, size, device_of(training.device)) as ranks:
                return train_rank(training, ranks, tell)
        except RuntimeError as error:
            raise _reason(others, told) from error
        finally:
            torch.set_num_threads(before)
            for process in others:
                process.join(timeout=5)
                process.kill()


def _await(others: Sequence[Any], ready: Sequence[Any], told: Any) -> None:
    """Wait until all processes are there: one that died on the way would be waited for in vain."""
    for event in ready:
        while not event.wait(0.1):
            if not all(process.is_alive() for process in others):
                raise _reason(others, told)


def _take_part(training: Training, rank: int, meeting: str, threads: int, told: Any, ready: Any) -> None:
    """Run one of the processes beside the first."""
    import signal

    import torch

    # Ctrl-C reaches every process of the terminal, but one of them decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    ready.set()
    try:
        with _connected(meeting, rank, training.processes, device_of(training.device, rank)) as ranks:
            train_rank(training, ranks, no_tell)
    except EmresError as error:
        told.put(error)
    except Exception as error:  # most often that the first process is gone
        told.put(EmresError(f"process {rank} of the training failed", got=f"{type(error).__name__}: {error}"))


def _reason(others: Sequence[Any], told: Any) -> EmresError:
    """Return why processes lost each other: what the one that went first said."""
    for process in others:
        process.join(timeout=2)
    if not told.empty():
        error: EmresError = told.get()
        return error
    codes = ", ".join(str(process.exitcode) for process in others)
    return EmresError(
        "a process of the training is gone",
        got=f"exit codes {codes}",
        cure="look for what killed it, memory most often; the same command goes on from the last checkpoint",
    )


@contextmanager
def _connected(meeting: str, rank: int, size: int, device: torch.device) -> Iterator[Ranks]:
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


def _on_cluster(training: Training, client: Client, tell: Tell) -> dict[str, Any]:
    """Train with one process on each of some workers, which see the same files as this one."""
    workers = list(client.scheduler_info(n_workers=-1)["workers"])
    size = training.processes if training.processes > 1 else len(workers)
    if len(workers) < size:
        raise UsageError("the cluster is too small", got=f"{len(workers)} workers", expected=f"{size} processes")
    away = replace(training, dataset=training.dataset.resolve(), to=training.to.resolve(), processes=size)
    address = client.submit(_free_address, workers=workers[:1], pure=False).result()
    client.subscribe_topic(TOPIC, lambda event: _pass_on(event, tell))
    try:
        tasks = [
            client.submit(
                _rank_on_worker, away, rank, address, workers=[worker], pure=False, retries=0, allow_other_workers=False
            )
            for rank, worker in zip(range(size), workers, strict=False)
        ]
        found: dict[str, Any] = client.gather(tasks, errors="raise")[0]
    finally:
        client.unsubscribe_topic(TOPIC)
    return found


def _pass_on(event: tuple[float, Any], tell: Tell) -> None:
    from emres.model.train import Moment

    tell(Moment(**event[1]))


def _free_address() -> str:
    """Return an address of this worker that nobody uses."""
    from distributed import get_worker

    host = get_worker().address.split("://")[-1].rsplit(":", 1)[0]
    with socket.socket() as probe:
        probe.bind((host, 0))
        return f"tcp://{host}:{probe.getsockname()[1]}"


def _rank_on_worker(training: Training, rank: int, address: str) -> dict[str, Any]:
    from dataclasses import asdict

    from distributed import get_worker

    worker = get_worker()

    def tell(moment: Moment) -> None:
        worker.log_event(TOPIC, asdict(moment))

    with _connected(address, rank, training.processes, device_of(training.device, rank)) as ranks:
        return train_rank(training, ranks, tell)
