"""Where intermediate volumes of one map live: in memory for a map that fits, in Zarr for one that does not.

Both give arrays that are sliced and assigned alike, so that the code that uses them is one and the same.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from emres.archive.disk import disk_errors
from emres.archive.writer import create_array
from emres.volume.grid import Shape


class Scratch(Protocol):
    """A place for named intermediate arrays."""

    def create(self, name: str, shape: Shape, dtype: str, chunk: int | Shape = ...) -> Any:
        """Make an array of zeros, in place of any of that name."""

    def open(self, name: str) -> Any:
        """Return an array that was made before; raise KeyError if there is none."""

    def notes(self) -> dict[str, Any]:
        """Return what was noted."""

    def note(self, **facts: Any) -> None:
        """Keep small facts (JSON values) beside the arrays."""

    def clear(self) -> None:
        """Drop everything."""


@dataclass
class MemoryScratch:
    """Intermediate arrays in memory."""

    _arrays: dict[str, Any] = field(default_factory=dict)
    _notes: dict[str, Any] = field(default_factory=dict)

    def create(self, name: str, shape: Shape, dtype: str, chunk: int | Shape = 64) -> Any:
        """Make an array of zeros, (z, y, x)."""
        self._arrays[name] = np.zeros(shape, dtype=dtype)
        return self._arrays[name]

    def open(self, name: str) -> Any:
        """Return an array that was made before."""
        return self._arrays[name]

    def notes(self) -> dict[str, Any]:
        """Return what was noted."""
        return dict(self._notes)

    def note(self, **facts: Any) -> None:
        """Keep small facts beside the arrays."""
        self._notes.update(facts)

    def clear(self) -> None:
        """Drop everything."""
        self._arrays.clear()
        self._notes.clear()


@dataclass(frozen=True)
class DiskScratch:
    """Intermediate arrays as Zarr in one folder; small enough to be sent to a worker.

    Parameters
    ----------
    folder : Path
        Its name holds the fingerprint of the job: arrays of another job are never met.
    """

    folder: Path

    def create(self, name: str, shape: Shape, dtype: str, chunk: int | Shape = 64) -> Any:
        """Make a Zarr array of zeros, (z, y, x)."""
        self._group()
        return create_array(self.folder / name, shape, dtype, chunk=chunk)

    def open(self, name: str) -> Any:
        """Open a Zarr array that was made before."""
        import zarr

        try:
            return zarr.open_array(self.folder / name, mode="r+")
        except FileNotFoundError as error:
            raise KeyError(name) from error

    def notes(self) -> dict[str, Any]:
        """Return what was noted; empty before the first note."""
        return dict(self._group().attrs) if (self.folder / "zarr.json").is_file() else {}

    def note(self, **facts: Any) -> None:
        """Keep small facts beside the arrays."""
        with disk_errors(self.folder):
            self._group().update_attributes(facts)

    def clear(self) -> None:
        """Remove the folder."""
        with disk_errors(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _group(self) -> Any:
        import zarr

        with disk_errors(self.folder):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            return zarr.open_group(self.folder, mode="a", zarr_format=3)


def other_folders(parent: Path, prefix: str, keep: str) -> list[Path]:
    """Return folders of earlier jobs of the same result that no job will go on with.

    Parameters
    ----------
    parent : Path
    prefix : str
        What their names begin with; behind it come ``-`` and the job's fingerprint (16 hexadecimal digits).
    keep : str
        Name of the folder of the present job.
    """
    # A model "a@1" must not take the folders of "a@1-beta" for its own.
    ours = re.compile(re.escape(prefix) + r"-[0-9a-f]{16}(-|\Z)")
    found = sorted(parent.iterdir()) if parent.is_dir() else []
    return [path for path in found if path.name != keep and ours.match(path.name)]
