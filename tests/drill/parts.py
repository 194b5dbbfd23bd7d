"""What the drill is made of: a mirror that fails now and then, a cluster that can be killed, a disk that can fill."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from emres.archive.mrc_write import write_mrc
from emres.volume.grid import Grid, make_volume
from tests.archive.hostile import Behaviour, Handler, Server, cut, refuse, serve, start
from tests.mirror import build_mirror

QUIET = subprocess.DEVNULL
CODE = Path(__file__).parents[2]


def maps(folder: Path, names: list[str]) -> dict[str, Path]:
    """Write a map for each name: textured balls of several sizes in noise."""
    folder.mkdir()
    found = {}
    for seed, name in enumerate(names):
        grid = Grid((56 + 8 * (seed % 3),) * 3, (1.8, 1.8, 1.8))
        z, y, x = (axis - grid.shape[0] / 2 for axis in np.indices(grid.shape))
        ball = z**2 + y**2 + x**2 < (grid.shape[0] / 4) ** 2
        noise = np.random.default_rng(seed).normal(size=grid.shape)
        values = ball * (1.5 + np.sin(0.9 * z) * np.cos(0.6 * y)) + 0.05 * noise
        found[name] = write_mrc(folder / f"{name}.mrc", make_volume(values.astype(np.float32), grid))
    return found


class Mirror:
    """An archive over HTTP, of whose answers some are refusals and some break off."""

    def __init__(self, root: Path, names: list[str], seed: int, share: float = 0.2) -> None:
        self._draw, self._share, self.failed = random.Random(seed), share, 0
        #: Entries beyond this number are kept back, so that something is left for whatever happens next.
        self.allowed = len(names)
        #: Whether those are refused at once: a client that is to end ends when its downloads do.
        self.refusing = False
        build_mirror(root / "mirror", maps(root / "maps", names))
        self._book = Server()
        behaviours: list[Behaviour] = [refuse(503), cut(1000)]

        def answer(handler: Handler, body: bytes) -> None:
            number = re.search(r"EMD-(\d+)", handler.path)
            # In all its tries longer than a step of the drill: an entry that is kept back waits, and does not fail.
            if number and not until(lambda: int(number[1]) <= self.allowed or self.refusing, 25):
                refuse(503)(handler, body)
            elif self._draw.random() < self._share:
                self.failed += 1
                self._draw.choice(behaviours)(handler, body)
            else:
                serve(handler, body)

        for path in (root / "mirror").rglob("*"):
            if path.is_file():
                self._book.put(str(path.relative_to(root / "mirror")), path.read_bytes(), answer)
        self._server = start(self._book)
        self.url = self._book.url().rstrip("/")

    def close(self) -> None:
        self._server.shutdown()


class Farm:
    """A scheduler and its workers, as processes of their own, so that each can be killed."""

    def __init__(self, folder: Path, log: Path, workers: int = 2) -> None:
        self._folder, self._count, self._log, self._hold = folder, workers, log, log.with_suffix(".hold")
        environment = {"EMRES_DRILL_LOG": str(log), "EMRES_DRILL_HOLD": str(self._hold)}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CODE)}
        self._environment = {**os.environ, **environment}
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.kills = 0
        self._struck: set[str] = set()

    @property
    def file(self) -> Path:
        return self._folder / "scheduler.json"

    def up(self) -> None:
        """Start what is missing."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.down()
            self.file.unlink(missing_ok=True)
            options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(self.file))
            self.scheduler = self._start("scheduler", *options)
            until(self.file.exists)
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < self._count:
            # Without a nanny: that is what is killed, and what the drill starts again.
            options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--death-timeout", "20")
            preload = ("--preload", "emres.run.worker", "--preload", "tests.drill.counting")
            local = ("--local-directory", str(self._folder), "--scheduler-file", str(self.file))
            self.workers.append(self._start("worker", *options, *preload, *local))

    def _start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", what, *options]
        return subprocess.Popen(command, env=self._environment, cwd=self._folder, stdout=QUIET, stderr=QUIET)

    def computing(self) -> dict[str, subprocess.Popen[bytes]]:
        """Return the blocks that are under way, and the worker of each."""
        open_blocks: dict[int, str] = {}
        for line in self._log.read_text().splitlines() if self._log.exists() else []:
            what, label, pid = line.split()
            open_blocks[int(pid)] = label if what == "began" else ""
        found = {open_blocks.get(worker.pid, ""): worker for worker in self.workers if worker.poll() is None}
        return {label: worker for label, worker in found.items() if label}

    @contextmanager
    def held(self, seconds: float = 60) -> Iterator[bool]:
        """Keep every block that begins from going on; tell whether there is one."""
        self._hold.touch()
        try:
            yield until(lambda: bool(self.computing()), seconds)
        finally:
            self._hold.unlink()

    def kill_worker(self, draw: random.Random) -> None:
        """Kill a worker that computes; no block twice, for what kills its workers again and again is given up."""
        with self.held(2):
            living = {label: worker for label, worker in self.computing().items() if label not in self._struck}
            if living:
                label = draw.choice(sorted(living))
                kill(living[label])
                self._struck.add(label)
                self.kills += 1

    def kill_scheduler(self) -> None:
        assert self.scheduler is not None
        kill(self.scheduler)
        self.kills += len(self.computing())

    def down(self) -> None:
        """End everything."""
        for process in [*self.workers, *([self.scheduler] if self.scheduler else [])]:
            if process.poll() is None:
                kill(process)
        self.workers = []


class Killer:
    """Kills a worker that computes every few seconds, and starts another."""

    def __init__(self, farm: Farm, seed: int, every: tuple[float, float]) -> None:
        self._farm, self._draw, self._every = farm, random.Random(seed), every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.wait(self._draw.uniform(*self._every)):
            self._farm.kill_worker(self._draw)
            self._farm.up()


class Disk:
    """A folder on a small disk of its own, where this user may mount one; it can be filled."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        self.folder, self._ballast = folder, folder / "ballast"
        self.small = subprocess.run(command, capture_output=True, check=False).returncode == 0

    def fill(self, leave: int) -> None:
        """Leave so many bytes."""
        room = os.statvfs(self.folder)
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, room.f_bavail * room.f_frsize - leave))

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        if self.small:
            subprocess.run(["umount", "-l", self.folder], capture_output=True, check=False)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def until(happens: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not happens() and time.monotonic() < deadline:
        time.sleep(0.1)
    return happens()
