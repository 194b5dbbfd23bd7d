"""What a job is: from one or two maps of an entry to one local-resolution map beside them, by whatever method."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from emres import __version__
from emres.archive.disk import disk_errors, only_writer
from emres.archive.known import KnownGroup
from emres.archive.store import EntryGroup
from emres.errors import MapError, UsageError
from emres.run.masks import MASKS
from emres.volume.density import Statistics

if TYPE_CHECKING:
    from distributed import Client

# Called with (steps done, steps in all).
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Job(ABC):
    """Everything that one result depends on. Small: it is what a worker is sent.

    Parameters
    ----------
    entry : Path
        ``STORE/EMD-13939.zarr``.
    """

    entry: Path

    @property
    def group(self) -> EntryGroup:
        """The entry group."""
        return EntryGroup(self.entry)

    @cached_property
    def source(self) -> KnownGroup:
        """The same, its maps as they were when first asked for since :meth:`finished`, with which every run begins."""
        return KnownGroup(self.entry)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is sent to a worker, which looks for itself."""
        return {name: value for name, value in self.__dict__.items() if name != "source"}

    @property
    def contour_level(self) -> float | None:
        """The author's contour level, if the entry has one."""
        level = self.source.attributes()["entry"].get("contour_level")
        return None if level is None else float(level)

    @property
    @abstractmethod
    def result(self) -> str:
        """Where the answer goes: ``local_resolution/<name>``."""

    @property
    @abstractmethod
    def in_memory(self) -> bool:
        """Whether the whole job is one task, as its arrays fit in memory."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hash of everything the result depends on; another hash is another result."""

    @abstractmethod
    def run(self, client: Client | None = None, progress: Progress | None = None) -> dict[str, Any]:
        """Do the job, or return what is there if it is this very result.

        Returns
        -------
        dict
            The attributes of the result, and ``computed``, the number of blocks computed now.
        """

    def within(self, memory_bytes: float | None) -> Self:
        """Return the job for a process that may take so much memory; the result is the same.

        Parameters
        ----------
        memory_bytes : float, optional
            Unknown or without a limit if not given.
        """
        return self

    @contextmanager
    def only_here(self) -> Iterator[None]:
        """Keep other runs from working on this result meanwhile.

        Raises
        ------
        StoreError
            If another run is at it.
        """
        work = self.group.work
        with disk_errors(work):
            work.mkdir(parents=True, exist_ok=True)
            try:
                with only_writer(work / f"{self.result.replace('/', '+')}.job"):
                    yield
            finally:
                self.group.tidy()

    def finished(self) -> bool:
        """Tell whether the store already holds exactly this result, of the maps as they are now."""
        self.__dict__.pop("source", None)
        group = self.group
        return group.has(self.result) and group.attributes(self.result).get("fingerprint") == self.fingerprint()


def run_timed(job: Job, client: Client | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Do a job and tell how long the work itself took: ``seconds``, without waiting for a worker."""
    start = time.perf_counter()
    facts = job.run(client, progress)
    return {**facts, "seconds": round(time.perf_counter() - start, 3)}


def map_facts(group: EntryGroup, kind: str) -> dict[str, Any]:
    """Return what tells one map from any other: the file it came from, and its grid."""
    return {"map": group.attributes(kind).get("source"), "grid": asdict(group.grid(kind))}


def mask_facts(mask: str, contour_level: float | None) -> dict[str, Any]:
    """Return what tells one mask from any other.

    Raises
    ------
    UsageError
        If the mask file cannot be read.
    """
    return {
        "mask": mask if mask in MASKS else _hash_of(Path(mask)),
        "contour_level": contour_level if mask == "contour" else None,
    }


def hash_of_facts(facts: Mapping[str, Any]) -> str:
    """Return the fingerprint of JSON values."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def provenance(mask: str) -> dict[str, str]:
    """Return what every result records of its making: program, date, and the mask by name."""
    return {
        "program": f"emres {__version__}",
        "mask": mask if mask in MASKS else Path(mask).name,
        "date": dt.date.today().isoformat(),
    }


def check_map(group: EntryGroup, kind: str) -> None:
    """Check that an entry holds a map and that there is something in it.

    Raises
    ------
    StoreError
        If it is not there.
    MapError
        If it is constant.
    """
    group.grid(kind)
    statistics = Statistics(**group.attributes(kind)["statistics"])
    if statistics.constant:
        raise MapError(
            f"the {kind} of {group.name} is constant",
            got=f"{statistics.minimum:g} everywhere",
            expected="a density",
            cure="check that the file is the right map",
        )


def check_choices(mask: str, device: str) -> None:
    """Check the words for mask and device.

    Raises
    ------
    UsageError
        If one is unknown, or there is no such mask file.
    """
    if device not in ("auto", "cpu") and not device.startswith("cuda"):
        raise UsageError("unknown device", got=device, expected="auto, cpu or cuda")
    if mask not in MASKS and not Path(mask).is_file():
        raise UsageError(f"there is no mask {mask}", expected="auto, contour, none or a mask file")


def absolute_mask(mask: str) -> str:
    """Return a mask file's path as it is called from any folder; a word for a mask as it is."""
    return mask if mask in MASKS else str(Path(mask).absolute())


def resolve_device(device: str) -> str:
    """Return ``cuda`` for ``auto`` where there is a GPU, else ``cpu``; any other name as it is."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _hash_of(path: Path) -> str:
    try:
        status = path.stat()
        return _hash_of_content(path.resolve(), status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise UsageError(f"the mask {path} cannot be read", got=error.strerror) from error


@lru_cache(maxsize=16)
def _hash_of_content(path: Path, modified: int, size: int) -> str:
    """Read a file once for as long as its date and size stay: a job asks for its fingerprint several times."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
