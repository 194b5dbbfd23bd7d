"""Workers on machines that ``ssh`` reaches, by the ``ssh`` of this machine: its keys, agent, jump hosts, known hosts.

Dask's own ``SSHCluster`` is not used: it cannot give the workers temporary credentials, it writes Dask's configuration
(and keys, where there are any) on command lines that every user of a machine can read, and a client that is killed
leaves its workers running.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import sys
from typing import TYPE_CHECKING, Any

from distributed import Scheduler, Security, SpecCluster
from distributed.deploy.spec import ProcessInterface

from emres.errors import EmresError
from emres.run.cluster_gpu import RESOURCE
from emres.run.cluster_local import dashboard_address, nanny_options
from emres.run.cluster_owned import Keeper, Trouble, owning
from emres.run.cluster_spec import ClusterSpec

if TYPE_CHECKING:
    from distributed import Client

_START_SECONDS = 120.0
_THREADS = 4


def start_ssh(spec: ClusterSpec) -> Client:
    """Start workers on hosts and return a client; closing it ends them.

    Raises
    ------
    EmresError
        If there is no ``ssh`` or ``cryptography`` here, or a host cannot be reached or runs no worker.
    """
    if shutil.which("ssh") is None:
        raise EmresError("there is no ssh here", cure="install OpenSSH's client")
    security = _security() if spec.encrypt else None
    address = {"host": spec.host} if spec.host else {"interface": spec.interface} if spec.interface else {}
    scheduler = {
        "cls": Scheduler,
        "options": {
            "protocol": "tls://" if security else "tcp://",
            "port": 0,
            "dashboard_address": dashboard_address(spec.dashboard),
            "security": security,
            **address,
        },
    }
    workers = _workers(spec, security)

    def start() -> Any:
        cluster = SpecCluster(workers=workers, scheduler=scheduler, security=security, silence_logs=50, name="ssh")
        cluster.keeper = Keeper(cluster, len(workers))
        return cluster

    return owning(start, _trouble)


def _security() -> Any:
    try:
        return Security.temporary()
    except ImportError as error:
        raise EmresError(
            "TLS needs the package cryptography",
            cure="pip install 'emres[ssh]', or, in a network that you trust, encrypt = false in a file of options",
        ) from error


def _workers(spec: ClusterSpec, security: Any) -> dict[str, Any]:
    """Return the processes of every host: one a GPU, or as many as were asked for."""
    credentials = {} if security is None else _credentials(security)
    workers: dict[str, Any] = {}
    for host in spec.hosts:
        for number in range(spec.gpus or spec.workers or 1):
            name = f"{host}-{number}"
            while name in workers:
                name += "+"
            environment = {"CUDA_VISIBLE_DEVICES": str(number)} if spec.gpus else {}
            options = nanny_options(
                spec.threads or _THREADS,
                environment,
                resources=RESOURCE if spec.gpus else None,
                memory_limit=spec.memory,
                interface=spec.interface,
            )
            told = {"security": credentials, "options": options}
            workers[name] = {"cls": RemoteWorker, "options": {"host": host, "spec": spec, "told": told}}
    return workers


def _credentials(security: Any) -> dict[str, str]:
    tls = security.get_tls_config_for_role("worker")
    return {"tls_ca_file": tls["ca_file"], "tls_worker_cert": tls["cert"], "tls_worker_key": tls["key"]}


class RemoteWorker(ProcessInterface):  # type: ignore[misc]
    """One worker on another machine, as long as its ``ssh`` runs.

    Parameters
    ----------
    scheduler : str
        Its address.
    name : str
    host : str
    spec : ClusterSpec
    told : dict
        What the worker reads from its input (see :mod:`emres.run.cluster_remote`).
    """

    def __init__(self, scheduler: str, name: str, host: str, spec: ClusterSpec, told: dict[str, Any]) -> None:
        super().__init__(scheduler=scheduler, name=name)
        self.host, self.spec = host, spec
        self.told = {**told, "scheduler": scheduler, "options": {**told["options"], "name": name}}
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Run ``ssh``, tell the worker what to be, and wait until it is there."""
        command = f"exec {shlex.quote(self.spec.python or sys.executable)} -m emres.run.cluster_remote"
        self.process = await asyncio.create_subprocess_exec(
            *("ssh", "-T", "-o", "BatchMode=yes", *self.spec.ssh_options, "--", self.host, command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the client's: it closes us in order
        )
        try:
            await asyncio.wait_for(self._tell(self.process), min(_START_SECONDS, self.spec.queue_timeout))
        except BaseException:
            await self.close()
            raise
        self._drain = asyncio.create_task(self._read_on(self.process))
        await super().start()

    async def _tell(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            process.stdin.write(json.dumps(self.told).encode() + b"\n")
            await process.stdin.drain()
            answer = await process.stdout.readline()
        except OSError:
            answer = b""
        if answer.strip() != b"ready":
            lines = (await process.stderr.read()).decode(errors="replace").strip().splitlines()
            raise RuntimeError(f"{self.host}: {lines[-1] if lines else 'ssh ended without a word'}")

    @staticmethod
    async def _read_on(process: asyncio.subprocess.Process) -> None:
        """Take what the worker says, lest it waits for a full pipe."""
        assert process.stderr is not None
        while await process.stderr.read(65536):
            pass

    async def close(self) -> None:
        """End the input, on which the worker ends; and ``ssh``, should it not."""
        process = self.process
        if process is not None and process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 15)
            except TimeoutError:
                process.kill()
                await process.wait()
        await super().close()


def _trouble(cluster: Any) -> Trouble | None:
    ended = [each for each in cluster.workers.values() if each.process and each.process.returncode is not None]
    return Trouble(f"{ended[0].host}: the worker ended") if len(ended) == len(cluster.workers) else None
