"""Where a training runs: here, in several processes of this machine, under torchrun, or on the workers of a cluster."""

from __future__ import annotations

import atexit
import os
import socket
import tempfile
import threading
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

    size, before, done = training.processes, torch.get_num_threads(), False
    threads = max(1, cores() // size)
    with tempfile.TemporaryDirectory(prefix="emres-train-") as folder:
        meeting = f"file://{folder}/meeting"
        others = [_Other(training, rank, meeting, threads) for rank in range(1, size)]
        torch.set_num_threads(threads)
        try:
            for other in others:  # one that died on the way would be waited for in vain
                other.await_ready()
            with _connected(meeting, 0, size, device_of(training.device)) as ranks:
                found = train_rank(training, ranks, tell)
            done = True
            return found
        except (RuntimeError, EOFError) as error:
            raise _reason(others) from error
        finally:
            torch.set_num_threads(before)
            for other in others:
                other.end(done)


class _Other:
    """One of the processes beside the first, and the line on which it says that it is ready, or what went wrong."""

    def __init__(self, training: Training, rank: int, meeting: str, threads: int) -> None:
        from torch import multiprocessing

        context = multiprocessing.get_context("spawn")
        self._line, its_end = context.Pipe()
        arguments = (training, rank, meeting, threads, its_end)
        self.process = context.Process(target=_take_part, args=arguments, daemon=True)
        self.process.start()
        its_end.close()

    def await_ready(self) -> None:
        """Wait until the process is there.

        Raises
        ------
        EOFError
            If it is gone.
        """
        self._line.recv()

    def said(self) -> EmresError | None:
        """Return what went wrong, if the process said it."""
        self.process.join(timeout=2)
        try:
            found: EmresError | None = self._line.recv() if self._line.poll() else None
        except EOFError:
            return None
        return found

    def end(self, done: bool) -> None:
        """Wait for the process to end, or if not all is done end it."""
        if done:
            self.process.join(timeout=5)
        self._line.close()
        self.process.join(timeout=5)
        self.process.kill()


def _take_part(training: Training, rank: int, meeting: str, threads: int, line: Any) -> None:
    """Run one of the processes beside the first."""
    import signal

    import torch

    # Ctrl-C reaches every process of the terminal, but one of them decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_the_first, args=(line,), daemon=True).start()
    line.send(None)
    try:
        with _connected(meeting, rank, training.processes, device_of(training.device, rank)) as ranks:
            train_rank(training, ranks, no_tell)
    except EmresError as error:
        line.send(error)
    except Exception as error:  # most often that the first process is gone: then nobody listens
        with suppress(OSError):
            line.send(EmresError(f"process {rank} of the training failed", got=f"{type(error).__name__}: {error}"))


def _end_with_the_first(line: Any) -> None:
    """End this process when the first one hangs up: it may be waiting for the first, which will not come any more."""
    with suppress(EOFError, OSError):
        line.recv()
    atexit._run_exitfuncs()
    os._exit(1)


def _reason(others: Sequence[_Other]) -> EmresError:
    """Return why processes lost each other: what the one that went first said."""
    said = [other.said() for other in others]
    codes = ", ".join(str(other.process.exitcode) for other in others)
    gone = EmresError(
        "a process of the training is gone",
        got=f"exit codes {codes}",
        cure="look for what killed it, memory most often; the same command goes on from the last checkpoint",
    )
    return next((error for error in said if error is not None), gone)


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
    from emres.run.cluster_owned import all_workers

    workers = all_workers(client)
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
        return _first_of(tasks)
    finally:
        client.unsubscribe_topic(TOPIC)


def _first_of(tasks: list[Any]) -> dict[str, Any]:
    """Return what the first process found; what one of them says is wrong comes before that others lost it."""
    from distributed import as_completed

    errors = []
    for task in as_completed(tasks):
        if task.status != "finished":
            errors.append(task.exception())
            break
    if errors:
        # The others notice within moments that one is gone; whose worker is gone, never.
        with suppress(TimeoutError):
            errors += [task.exception(timeout=5) for task in tasks if task.status != "finished"]
        known = next((error for error in errors if isinstance(error, EmresError)), None)
        cause = f"{type(errors[0]).__name__}: {errors[0]}"
        raise known or EmresError(
            "a process of the training is gone", got=cause, cure="the same command goes on from the last checkpoint"
        )
    found: dict[str, Any] = tasks[0].result()
    return found


def _pass_on(event: tuple[float, Any], tell: Tell) -> None:
    from emres.model.train import Moment

    tell(Moment(**event[1]["moment"]))


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
        worker.log_event(TOPIC, {"moment": asdict(moment)})

    with _connected(address, rank, training.processes, device_of(training.device, rank)) as ranks:
        return train_rank(training, ranks, tell)
