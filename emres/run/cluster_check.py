"""Is this cluster fit for emres? Its workers are asked what they are, and each computes a test block."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from emres.errors import EmresError

if TYPE_CHECKING:
    from distributed import Client

# What must be the same everywhere: tasks and arrays travel between these.
_MUST_AGREE = ("python", "emres", "dask", "distributed", "torch", "numpy", "zarr", "numcodecs")
_SECONDS_PER_QUESTION = 120.0
# The first worker has come; the others are given this long.
_SECONDS_FOR_ALL = 60.0


@dataclass(frozen=True)
class WorkerFacts:
    """What one worker is.

    Parameters
    ----------
    name, address, host : str
    threads : int
        That torch computes with.
    memory_bytes : int
        That Dask lets it take; 0 where there is no limit.
    devices : tuple of str
        Names of the GPUs that it sees.
    visible : str, optional
        Its ``CUDA_VISIBLE_DEVICES``.
    resources : mapping
        What it offers to tasks that ask for it.
    versions : mapping
        Package -> version.
    block_seconds : float, optional
        The time of the test block, with the loading of the model before it.
    problem : str, optional
        Why it is not fit.
    """

    name: str
    address: str
    host: str = ""
    threads: int = 0
    memory_bytes: int = 0
    devices: tuple[str, ...] = ()
    visible: str | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    block_seconds: float | None = None
    problem: str | None = None


@dataclass(frozen=True)
class ClusterFacts:
    """What a cluster is.

    Parameters
    ----------
    dashboard : str
    encrypted : bool
        Whether its parts talk by TLS.
    workers : tuple of WorkerFacts
    differing : mapping
        Package -> {version: where}, of those that are not the same everywhere.
    """

    dashboard: str
    encrypted: bool
    workers: tuple[WorkerFacts, ...]
    differing: Mapping[str, Mapping[str, list[str]]]

    @property
    def fit(self) -> bool:
        """Whether every worker can be used."""
        return bool(self.workers) and not self.differing and all(worker.problem is None for worker in self.workers)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "fit": self.fit}


def check_cluster(client: Client, model: str = "emres-small") -> ClusterFacts:
    """Ask every worker what it is, and let it compute the model's test block.

    Parameters
    ----------
    client : distributed.Client
    model : str
        Whose self-test the block is.

    Returns
    -------
    ClusterFacts
        With a problem, never an error, for a worker that is not fit.
    """
    from emres.run.cluster_owned import await_all

    await_all(client, _SECONDS_FOR_ALL)
    known = client.scheduler_info(n_workers=-1)["workers"]
    asked = _answers(client, worker_facts, list(known))
    tested = _answers(
        client, compute_test_block, [address for address in known if isinstance(asked[address], dict)], model
    )
    workers = tuple(_facts(address, info, asked[address], tested.get(address)) for address, info in known.items())
    return ClusterFacts(
        dashboard=str(client.dashboard_link),
        encrypted=str(client.scheduler.address).startswith("tls://"),
        workers=tuple(sorted(workers, key=lambda worker: worker.name)),
        differing=_differing(
            {"here": versions()} | {worker.name: worker.versions for worker in workers if worker.versions}
        ),
    )


def _answers(client: Client, question: Any, addresses: list[str], *arguments: Any) -> dict[str, Any]:
    """Ask each worker as a task of its own, so that one that dies or hangs is told by name, and the others answer."""
    futures = {
        address: client.submit(
            question,
            *arguments,
            workers=[address],
            allow_other_workers=False,
            pure=False,
            key=f"check-{question.__name__}-{address}",
        )
        for address in addresses
    }
    answers: dict[str, Any] = {}
    deadline = time.monotonic() + _SECONDS_PER_QUESTION
    for address, future in futures.items():
        try:
            answers[address] = future.result(timeout=max(1.0, deadline - time.monotonic()))
        except Exception as error:
            answers[address] = _said(error)
    client.cancel(list(futures.values()))
    return answers


def _said(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"emres or a part of it is not installed there ({error})"
    if isinstance(error, TimeoutError):
        return f"no answer within {_SECONDS_PER_QUESTION:g} s"
    return str(error).partition("\n")[0] or type(error).__name__


def _facts(address: str, info: Mapping[str, Any], answer: Any, block: Any) -> WorkerFacts:
    common: dict[str, Any] = {
        "name": str(info["name"]),
        "address": address,
        "memory_bytes": int(info.get("memory_limit") or 0),
        "resources": dict(info.get("resources") or {}),
    }
    if not isinstance(answer, dict):
        return WorkerFacts(**common, problem=str(answer))
    done = isinstance(block, float)
    return WorkerFacts(**common, **answer, block_seconds=block if done else None, problem=None if done else str(block))


def worker_facts() -> dict[str, Any]:
    """Return what this process is: host, threads, GPUs, versions. Runs on a worker."""
    import os
    import socket

    import torch

    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    return {
        "host": socket.gethostname(),
        "threads": torch.get_num_threads(),
        "devices": tuple(torch.cuda.get_device_name(number) for number in gpus),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the versions of what must be the same on every machine."""
    import platform

    return {name: platform.python_version() if name == "python" else _version(name) for name in _MUST_AGREE}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def compute_test_block(model: str) -> float:
    """Load a model and let it answer its self-test on this worker's device; return the seconds that took.

    Raises
    ------
    ModelError
        If it does not answer as it should.
    """
    import torch

    from emres.archive.registry import find_model
    from emres.model.bundle import open_bundle, self_test_statistics

    began = time.perf_counter()
    bundle = open_bundle(find_model(model))  # compares the answer on the CPU
    if torch.cuda.is_available():
        _same(self_test_statistics(bundle.net.to("cuda")), bundle.contract.self_test)
    return time.perf_counter() - began


def _same(got: Mapping[str, float], wanted: Mapping[str, float]) -> None:
    for name, value in wanted.items():
        if abs(got[name] - value) > 1e-2 * max(1.0, abs(value)):
            raise EmresError(
                f"the GPU answers the self-test's {name} wrongly", got=f"{got[name]:g}", expected=f"{value:g}"
            )


def _differing(found: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, list[str]]]:
    """Return the packages whose version is not the same everywhere, and who has which."""
    differing = {}
    for package in _MUST_AGREE:
        who: dict[str, list[str]] = {}
        for name, each in found.items():
            who.setdefault(each.get(package, "missing"), []).append(name)
        if len(who) > 1:
            differing[package] = who
    return differing
