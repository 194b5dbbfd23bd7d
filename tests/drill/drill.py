"""Many entries from a mirror that fails; workers, scheduler and client are killed, the disk is full; all come right."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.drill.parts import CODE, Disk, Farm, Killer, Mirror, kill, until
from tests.model.conftest import contract, lively_net

_MINUTES = 20.0


@dataclass(frozen=True)
class Found:
    """What the drill has found.

    Parameters
    ----------
    entries, right : int
        In all; with the bytes of an undisturbed run, store and exports.
    kills, starts : int
        Processes that computed when they were killed; runs of the command.
    needed, began, ended, twice : int
        Blocks of an undisturbed run; begun and ended in the disturbed one; ended more than once.
    refusals : int
        Answers of the mirror that failed.
    lost, full, full_disk : bool
        Whether the loss of the scheduler was told, and the full disk; whether there was a small disk.
    left : list of str
        What was left behind.
    seconds : float
    """

    entries: int
    right: int
    kills: int
    starts: int
    needed: int
    began: int
    ended: int
    twice: int
    refusals: int
    lost: bool
    full: bool
    full_disk: bool
    left: list[str]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, and no more computed than what was in flight when something died."""
        told = self.lost and (self.full or not self.full_disk)
        return self.right == self.entries and self.began <= self.needed + self.kills and told and not self.left

    def facts(self) -> dict[str, Any]:
        return {**asdict(self), "passed": self.passed}


class Drill:
    """One drill.

    Parameters
    ----------
    folder : Path
        Empty; everything happens in it.
    entries, seed : int
    tell : callable
        Told what happens.
    every : (float, float)
        Seconds between two kills of a worker.
    """

    def __init__(
        self,
        folder: Path,
        entries: int,
        seed: int = 1,
        tell: Callable[[str], None] = lambda line: None,
        every: tuple[float, float] = (2.0, 4.0),
    ) -> None:
        from emres.model.bundle import save_bundle

        self._folder, self._seed, self._tell, self._every = folder, seed, tell, every
        self._names = [f"EMD-{number:04d}" for number in range(1, entries + 1)]
        (folder / "ids.txt").write_text("\n".join(self._names) + "\n")
        self._model, self._starts, self._errors = folder / "toy", 0, ""
        save_bundle(self._model, lively_net(), contract(name="toy", version="1", bytes_per_voxel=200), "# toy\n")

    def run(self) -> Found:
        """Run it."""
        began = time.monotonic()
        mirror = Mirror(self._folder, self._names, self._seed)
        disk = Disk(self._folder / "rough", 60 + 8 * len(self._names))
        (self._folder / "calm").mkdir()
        farms = {name: self._farm(name) for name in ("calm", "rough")}
        try:
            self._undisturbed(mirror, farms["calm"])
            lost, full = self._disturbed(mirror, farms["rough"], disk)
            return self._found(mirror, farms["rough"], disk, lost, full, time.monotonic() - began)
        finally:
            for farm in farms.values():
                farm.down()
            mirror.close()
            disk.close()

    def _farm(self, name: str) -> Farm:
        folder = self._folder / f"farm-{name}"
        folder.mkdir()
        return Farm(folder, self._folder / f"{name}.log")

    def _undisturbed(self, mirror: Mirror, farm: Farm) -> None:
        farm.up()
        client = self._client(mirror, "calm", farm)
        assert client.wait(60 * _MINUTES) == 0, (self._folder / "errors").read_text()
        farm.down()
        self._tell(f"undisturbed: {self._done('calm')} done")

    def _disturbed(self, mirror: Mirror, farm: Farm, disk: Disk) -> tuple[bool, bool]:
        """Let everything happen, each thing when a further sixth of the entries is done; return what was told."""
        step = max(1, len(self._names) // 6)
        lost = self._until_the_scheduler_dies(mirror, farm, 2 * step, step)
        self._until_the_client_dies(mirror, farm, 3 * step, step)
        mirror.allowed = 5 * step
        full = self._with_a_full_disk(mirror, farm, disk)
        mirror.allowed = len(self._names)
        farm.up()
        client = self._client(mirror, "rough", farm)
        with Killer(farm, self._seed + 2, self._every):
            client.wait(60 * _MINUTES)
        self._tell(f"started again: {self._done('rough')} done, {client.returncode}: {self._said()}")
        return lost, full

    def _until_the_scheduler_dies(self, mirror: Mirror, farm: Farm, done: int, step: int) -> bool:
        """Kill it while blocks are computed; return whether that was told."""
        client = self._worked_on(mirror, farm, done, self._seed)
        mirror.allowed = done + step
        with farm.held():
            under_way = sorted(farm.computing())
            farm.kill_scheduler()
            mirror.refusing = True
            ended = client.wait(300)
            mirror.refusing = False
            farm.down()
        self._tell(f"scheduler killed at {self._done('rough')} and {under_way}: {ended}: {self._said()}")
        return bool(under_way) and ended == 1 and "the cluster was lost" in self._said()

    def _until_the_client_dies(self, mirror: Mirror, farm: Farm, done: int, step: int) -> None:
        """Kill it while blocks are computed, which end by themselves."""
        client = self._worked_on(mirror, farm, done, self._seed + 1)
        mirror.allowed = done + step
        with farm.held():
            under_way = sorted(farm.computing())
            assert client.poll() is None, self._said()
            kill(client)
        farm.kills += len(under_way)
        self._tell(f"client killed at {self._done('rough')} and {under_way}")

    def _worked_on(self, mirror: Mirror, farm: Farm, done: int, seed: int) -> subprocess.Popen[bytes]:
        """Start a client and kill workers until so many entries are done; the next ones are kept back."""
        mirror.allowed = done
        farm.up()
        client = self._client(mirror, "rough", farm)
        with Killer(farm, seed, self._every):
            until(lambda: self._done("rough") >= done or client.poll() is not None, 60 * _MINUTES)
        farm.up()
        return client

    def _with_a_full_disk(self, mirror: Mirror, farm: Farm, disk: Disk) -> bool:
        if not disk.small:
            return False
        disk.fill(leave=3_000_000)
        farm.up()
        client = self._client(mirror, "rough", farm)
        until(lambda: client.poll() is not None, 5)
        mirror.refusing = True
        ended = client.wait(300)
        mirror.refusing = False
        full = ended == 1 and "disk is full" in self._said()
        farm.kills += len(farm.workers)
        disk.free()
        self._tell(f"disk full at {self._done('rough')}: the client ended with {ended}: {self._said()}")
        return full

    def _client(self, mirror: Mirror, name: str, farm: Farm) -> subprocess.Popen[bytes]:
        self._starts += 1
        root = self._folder / name
        options = {
            "list": self._folder / "ids.txt", "to": root / "store", "export": root / "out", "mirror": mirror.url,
            "model": self._model, "cluster": farm.file,
        }  # fmt: skip
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        with (self._folder / "errors").open("wb") as errors:
            command = [sys.executable, "-m", "emres", "batch-predict", *words, "--quiet"]
            return subprocess.Popen(command, cwd=CODE, stdout=subprocess.DEVNULL, stderr=errors)

    def _said(self) -> str:
        lines = (self._folder / "errors").read_text().strip().splitlines()
        return lines[-1] if lines else ""

    def _done(self, name: str) -> int:
        return len(list((self._folder / name / "out").glob("*.mrc")))

    def _found(self, mirror: Mirror, farm: Farm, disk: Disk, lost: bool, full: bool, seconds: float) -> Found:
        needed, (began, ended) = self._counted("calm")[1], self._counted("rough")
        return Found(
            entries=len(self._names),
            right=sum(self._is_right(name) for name in self._names),
            kills=farm.kills,
            starts=self._starts - 1,
            needed=sum(needed.values()),
            began=sum(began.values()),
            ended=sum(ended.values()),
            twice=sum(count - 1 for count in ended.values()),
            refusals=mirror.failed,
            lost=lost,
            full=full,
            full_disk=disk.small,
            left=self._left(),
            seconds=round(seconds, 1),
        )

    def _counted(self, name: str) -> tuple[Counter[str], Counter[str]]:
        """Return how often each map's block was begun, and ended."""
        log = self._folder / f"{name}.log"
        lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        began, ended = (Counter(label for what, label, _ in lines if what == word) for word in ("began", "ended"))
        return began, ended

    def _is_right(self, name: str) -> bool:
        calm, rough = (self._bytes_of(self._folder / kind, name) for kind in ("calm", "rough"))
        return bool(calm) and calm == rough

    def _bytes_of(self, root: Path, name: str) -> dict[str, bytes]:
        files = [*(root / "store" / f"{name}.zarr").rglob("*"), *(root / "out").glob(f"{name}_*.mrc")]
        return {str(path.relative_to(root)): path.read_bytes() for path in files if path.is_file()}

    def _left(self) -> list[str]:
        """Return what should not be in the store or beside the exports any more."""
        root = self._folder / "rough"
        hidden = [path for path in (root / "store").glob(".*/**/*") if path.is_file() and path.suffix != ".lock"]
        parts = [path for path in (root / "out").iterdir() if path.suffix != ".mrc" or path.name.startswith(".")]
        return [str(path.relative_to(root)) for path in [*hidden, *parts]]
