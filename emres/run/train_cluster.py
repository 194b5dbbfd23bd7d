"""A training on the workers of a cluster: one process on each of some of them."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from emres.errors import EmresError, UsageError
from emres.run.train import Tell, train_rank
from emres.run.train_config import Training
from emres.run.train_meeting import connected, device_of

if TYPE_CHECKING:
    from distributed import Client

    from emres.model.train import Moment

TOPIC = "emres-train"


def train_on_cluster(training: Training, client: Client, tell: Tell) -> dict[str, Any]:
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

    with connected(address, rank, training.processes, device_of(training.device, rank)) as ranks:
        return train_rank(training, ranks, tell)
