"""Workers as jobs of a SLURM cluster, by dask-jobqueue (the only one who knows it).

The scheduler runs in this process, on the machine the jobs are submitted from. Its parts talk by TLS, with a key and
certificate that live as long as the cluster does: the jobs read them from a folder that only this user can open.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emres.archive.disk import open_locked
from emres.errors import BusyError, EmresError, UsageError
from emres.run.cluster_gpu import RESOURCE
from emres.run.cluster_local import KEPT_MEMORY, PRELOAD, dashboard_address, thread_environment
from emres.run.cluster_spec import ClusterSpec

if TYPE_CHECKING:
    from distributed import Client

# Asked for where the options do not say.
_THREADS = 4
_MEMORY = "16GB"
_FOLDER = ".emres-cluster-"
_LOCK = "in-use"


def start_slurm(spec: ClusterSpec) -> Client:
    """Submit jobs and return a client; closing it cancels them.

    A job that ends (walltime, preemption, a node that fails) is submitted again while the client is open.

    Parameters
    ----------
    spec : ClusterSpec

    Raises
    ------
    EmresError
        If SLURM or dask-jobqueue is not here, or SLURM refuses the jobs.
    UsageError
        If the walltime or the folder is none.
    """
    from emres.run.cluster_owned import Keeper, owning

    _check()
    folder = _Folder(spec)

    def start() -> Any:
        cluster = _cluster(spec, folder.path)
        try:
            # dask-jobqueue would submit in the background, where a refusal is seen by nobody.
            for _ in range(spec.jobs):
                cluster.worker_spec.update(cluster.new_worker_spec())
            cluster.sync(_started, cluster)
        except BaseException:
            cluster.close()
            raise
        cluster.keeper = Keeper(cluster, spec.jobs)
        return cluster

    return owning(start, lambda cluster: _trouble(cluster, folder.path), folder.remove)


async def _started(cluster: Any) -> None:
    await cluster


def _check() -> None:
    if shutil.which("sbatch") is None:
        raise EmresError("there is no SLURM here", expected="sbatch", cure="run this where jobs are submitted from")
    try:
        import cryptography  # noqa: F401
        import dask_jobqueue  # noqa: F401
    except ImportError as error:
        raise EmresError(f"{error.name} is not installed", cure="pip install 'emres[slurm]'") from error


class _Folder:
    """The folder of the certificates and the jobs' logs, for this user alone; those that a kill has left are removed.

    It is locked as long as it is in use: a process number alone says little where machines or containers share a name.
    """

    def __init__(self, spec: ClusterSpec) -> None:
        parent = Path(spec.shared_folder or Path.home()).expanduser().absolute()
        mine = f"{_FOLDER}{socket.gethostname()}-"
        try:
            for left in parent.glob(f"{mine}*"):
                pid = left.name.removeprefix(mine).partition("-")[0]
                if pid.isdigit() and not _in_use(left, int(pid)):
                    shutil.rmtree(left, ignore_errors=True)
            self.path = Path(tempfile.mkdtemp(prefix=f"{mine}{os.getpid()}-", dir=parent))
            self._lock: int | None = open_locked(self.path / _LOCK)
        except OSError as error:
            raise UsageError(
                f"no folder can be made in {parent}",
                got=error.strerror,
                cure="name another that all nodes see: shared_folder",
            ) from error

    def remove(self) -> None:
        """Remove it; a second time does nothing."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _in_use(folder: Path, pid: int) -> bool:
    """Tell whether whoever made a folder lives: the lock says it, and where there are no locks the process."""
    import psutil

    try:
        os.close(open_locked(folder / _LOCK))
    except BusyError:
        return True
    return bool(psutil.pid_exists(pid))


def _cluster(spec: ClusterSpec, folder: Path) -> Any:
    from dask_jobqueue import SLURMCluster
    from dask_jobqueue.slurm import SLURMJob
    from distributed.deploy.spec import ProcessInterface

    class Job(SLURMJob):  # type: ignore[misc]
        """A job that is closed once it is cancelled: dask-jobqueue 0.9 forgets to say so, and its cluster to close."""

        async def close(self) -> None:
            await super().close()
            await ProcessInterface.close(self)

    scheduler = {"dashboard_address": dashboard_address(spec.dashboard)}
    if spec.host:
        scheduler["host"] = spec.host
    return SLURMCluster(
        job_cls=Job,
        # emres computes one task a process at a time, with all its cores: to Dask, a process is one core.
        cores=_processes(spec),
        processes=_processes(spec),
        job_cpu=_processes(spec) * (spec.threads or _THREADS),
        memory=spec.memory or _MEMORY,
        queue=spec.partition,
        account=spec.account,
        job_name="emres",
        python=spec.python,
        interface=spec.interface,
        security=_security(folder) if spec.encrypt else None,
        log_directory=str(folder),
        scheduler_options=scheduler,
        silence_logs="critical",
        **_job_lines(spec),
    )


def _security(folder: Path) -> Any:
    """Return fresh credentials that lie in the folder, where the jobs read them and nobody else does."""
    from distributed import Security

    made = Security.temporary().get_tls_config_for_role("worker")
    files = {}
    for name in ("ca_file", "cert", "key"):
        files[name] = str(folder / f"{name}.pem")
        # The folder is open to this user alone; so is the file, should the folder ever be opened.
        Path(files[name]).touch(mode=0o600)
        Path(files[name]).write_text(made[name], encoding="ascii")
    roles = {
        f"tls_{role}_{part}": files[part] for role in ("client", "scheduler", "worker") for part in ("cert", "key")
    }
    return Security(require_encryption=True, tls_ca_file=files["ca_file"], **roles)


def _processes(spec: ClusterSpec) -> int:
    if spec.gpus and spec.workers not in (None, spec.gpus):
        raise UsageError(f"{spec.said}: workers", got=str(spec.workers), expected=f"{spec.gpus}, one a GPU")
    return spec.gpus or spec.workers or 1


def _job_lines(spec: ClusterSpec) -> dict[str, Any]:
    """Return what a job's script says: its directives, its first lines, the worker's arguments."""
    environment = thread_environment(spec.threads or _THREADS) | KEPT_MEMORY
    # Of a job's GPUs each worker takes its own, when it starts (run/worker.py).
    environment |= {"EMRES_ONE_GPU_EACH": "1"} if spec.gpus > 1 else {}
    exports = [f"export {name}={value}" for name, value in environment.items()]
    arguments = ["--preload", PRELOAD]
    if spec.gpus:
        arguments += ["--resources", ",".join(f"{name}={count}" for name, count in RESOURCE.items())]
    lines: dict[str, Any] = {
        "job_extra_directives": [*([f"--gres=gpu:{spec.gpus}"] if spec.gpus else []), *spec.directives],
        "job_script_prologue": [*exports, *spec.prologue],
        "worker_extra_args": arguments,
    }
    if spec.walltime:
        lines["walltime"] = spec.walltime
        # Before SLURM kills a worker it leaves: a death is held against the task that ran then, a farewell is not.
        margin = min(300.0, 0.2 * walltime_seconds(spec.walltime))
        lifetime = walltime_seconds(spec.walltime) - margin
        arguments += ["--lifetime", f"{lifetime:.0f}s", "--lifetime-stagger", f"{margin / 2:.0f}s"]
    return lines


def walltime_seconds(walltime: str) -> float:
    """Return the seconds of a time as SLURM writes it: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S.

    Raises
    ------
    UsageError

    Examples
    --------
    >>> walltime_seconds("1-12:00:00"), walltime_seconds("90"), walltime_seconds("1:30:00")
    (129600.0, 5400.0, 5400.0)
    """
    days, dash, clock = walltime.rpartition("-")
    parts = clock.split(":")
    words = [*parts, *([days] if dash else [])]
    if not all(word.isdigit() for word in words) or len(parts) > 3:
        raise UsageError("walltime", got=walltime, expected="HH:MM:SS or D-HH:MM:SS")
    numbers = [int(word) for word in parts]
    units = (3600, 60, 1) if dash or len(parts) == 3 else (60, 1)
    seconds = sum(number * unit for number, unit in zip(numbers, units, strict=False))
    return 86400.0 * int(days or 0) + seconds


def _trouble(cluster: Any, folder: Path) -> Any:
    """Say what became of the jobs while no worker has come: they wait, or they have ended."""
    from emres.run.cluster_owned import Trouble

    ids = [job.job_id for job in cluster.workers.values() if getattr(job, "job_id", None)]
    asked = subprocess.run(
        ["squeue", "--noheader", "--format=%i %T %r", "--user", str(os.getuid())],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode or not ids:
        return None
    found = [line for line in asked.stdout.splitlines() if line.split(" ")[0] in ids]
    if found:
        return Trouble(f"job {found[0].strip()}", final=False)
    return Trouble(f"the jobs ended ({', '.join(ids)}): {_last_words(folder)}")


def _last_words(folder: Path) -> str:
    lines = [
        line.strip()
        for log in sorted(folder.glob("*.err"))
        for line in log.read_text(errors="replace").splitlines()
        if line.strip()
    ]
    return lines[-1] if lines else "they left no log"
