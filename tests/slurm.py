"""A SLURM for tests: the one that runs here, else one of our own on this machine alone, by the shared recipe."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RECIPE = Path(__file__).parents[1] / "../shared/slurm/slurm.conf.in"
PROGRAMS = ("sinfo", "sbatch", "slurmctld", "slurmd", "munged", "munge", "runuser")
MUNGE = ("/run/munge", "/var/log/munge", "/var/lib/munge")


class NoSlurmError(Exception):
    """Why there is none."""


@contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """Have a SLURM whose node is idle, and end what was started for it.

    Raises
    ------
    NoSlurmError
        If there is none, and none can be started.
    """
    if is_idle():
        yield
        return
    missing = [program for program in PROGRAMS if _found(program) is None]
    if missing or os.getuid() != 0 or not RECIPE.is_file() or "SLURM_CONF" in os.environ:
        raise NoSlurmError(
            f"no SLURM runs here and none can be started: missing {', '.join(missing) or 'root or recipe'}"
        )
    started: list[int] = []
    try:
        _munge(started)
        os.environ["SLURM_CONF"] = str(_configured(folder))
        for daemon in ("slurmctld", "slurmd"):
            _run([str(_found(daemon))])
            started.append(_pid(folder / f"{daemon}.pid"))
        if not _until(is_idle):
            raise NoSlurmError("SLURM starts here, but its node does not become idle")
        yield
    finally:
        subprocess.run(["scancel", "--user", "root"], capture_output=True, check=False)
        for pid in reversed(started):
            os.kill(pid, 15)
        os.environ.pop("SLURM_CONF", None)


def is_idle() -> bool:
    """Tell whether a SLURM answers that has a node for us."""
    if shutil.which("sinfo") is None:
        return False
    asked = subprocess.run(["sinfo", "--noheader", "--format=%t"], capture_output=True, text=True, check=False)
    return asked.returncode == 0 and bool(set(asked.stdout.split()) & {"idle", "mix"})


def _munge(started: list[int]) -> None:
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
        return
    for name in MUNGE:
        Path(name).mkdir(parents=True, exist_ok=True)
        shutil.chown(name, "munge", "munge")
    _run(["runuser", "-u", "munge", "--", str(_found("munged"))])
    started.append(_pid(Path("/run/munge/munged.pid")))


def _configured(folder: Path) -> Path:
    import psutil

    facts = {
        "HOST": socket.gethostname().partition(".")[0],
        "DIR": str(folder),
        "CPUS": str(os.cpu_count()),
        "MEMORY_MB": str(psutil.virtual_memory().total // 2**20 - 500),
    }
    text = RECIPE.read_text(encoding="utf-8")
    for name, value in facts.items():
        text = text.replace(f"@{name}@", value)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    logs = f"SlurmctldLogFile={folder}/slurmctld.log\nSlurmdLogFile={folder}/slurmd.log\n"
    path = folder / "slurm.conf"
    path.write_text(text + logs, encoding="utf-8")
    return path


def _found(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")


def _run(command: list[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise NoSlurmError(f"{command[0]} does not start here: {ended.stderr.strip()}")


def _pid(file: Path) -> int:
    # A file that is there may be empty still: it is made, then written.
    if not _until(lambda: file.exists() and file.read_text().strip().isdecimal()):
        raise NoSlurmError(f"no {file.name} was written")
    return int(file.read_text())


def _until(happens: object, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not happens() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.2)
    return bool(happens())  # type: ignore[operator]
