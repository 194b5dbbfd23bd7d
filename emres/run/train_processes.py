"""Where a training runs: here, in several processes of this machine, under torchrun, or on the workers of a cluster."""

from __future__ import annotations

import atexit
import os
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from emres.errors import EmresError
from emres.run.cluster import cores
from emres.run.read_ahead import read_ahead
from emres.run.train import Tell, begun, train_rank
from emres.run.train_config import Training
from emres.run.train_meeting import connected, device_of, torchrun_meeting, torchrun_place
from emres.volume.threads import torch_threads

if TYPE_CHECKING:
    from distributed import Client

    from emres.model.train import Moment


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
        from emres.run.train_cluster import train_on_cluster

        _read(training, tell, client)
        return train_on_cluster(training, client, tell)
    place = torchrun_place()
    if place is not None:
        return _under_torchrun(training, tell, *place)
    _read(training, tell)
    if training.processes > 1:
        return _beside(training, tell)
    from emres.model.ranks import Ranks

    return train_rank(training, Ranks(device=device_of(training.device)), tell)


def _read(training: Training, tell: Tell, client: Client | None = None) -> None:
    """Read what is not known yet of the maps."""
    if client is None:  # that the folder holds another training is told before what takes long
        begun(training, device_of(training.device))
    read_ahead(training.dataset, training.plan.settled(), tell, processes=training.map_readers, client=client)


def _under_torchrun(training: Training, tell: Tell, rank: int, size: int) -> dict[str, Any] | None:
    device = device_of(training.device, int(os.environ.get("LOCAL_RANK", rank)))
    meeting = torchrun_meeting(rank, size, partial(_read, training, tell))
    with connected(meeting, rank, size, device) as ranks:
        found = train_rank(training, ranks, tell)
    return found if rank == 0 else None


def _beside(training: Training, tell: Tell) -> dict[str, Any]:
    """Train here as the first of several processes of this machine."""
    size, done = training.processes, False
    threads = max(1, cores() // size)
    with torch_threads(threads), tempfile.TemporaryDirectory(prefix="emres-train-") as folder:
        meeting = f"file://{folder}/meeting"
        others = [_Other(training, rank, meeting, threads) for rank in range(1, size)]
        try:
            for other in others:  # one that died on the way would be waited for in vain
                other.await_ready()
            with connected(meeting, 0, size, device_of(training.device)) as ranks:
                found = train_rank(training, ranks, tell)
            done = True
            return found
        except (RuntimeError, EOFError) as error:
            raise _reason(others) from error
        finally:
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
        with connected(meeting, rank, training.processes, device_of(training.device, rank)) as ranks:
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
