"""Where simulated maps are put: into a store, as one entry that appears whole, or into files beside each other."""

from __future__ import annotations

import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from emres.archive.disk import disk_errors, move_into_place, only_writer, replaced_file
from emres.archive.mrc import open_map
from emres.archive.mrc_write import write_mrc
from emres.archive.store import Store
from emres.archive.writer import VolumeWriter
from emres.errors import EmresError, UsageError
from emres.run.masks import slabs
from emres.volume.grid import Grid, make_volume

Array = np.ndarray[Any, Any]

_BEGUN = "moving"  # the fingerprint of what is being moved into place


@dataclass(frozen=True)
class Made:
    """Maps that belong together.

    Parameters
    ----------
    volumes : mapping
        Kind -> voxels and their grid.
    facts : mapping
        What is recorded of them, JSON values.
    """

    volumes: Mapping[str, tuple[Array, Grid]]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """Return what is told of the maps."""
        return _told(self.facts, self.volumes["map"][1])


def _told(facts: Mapping[str, Any], grid: Grid) -> dict[str, Any]:
    size = round(grid.mean_voxel_size, 4)
    return {"shape": list(grid.shape), "voxel_size": size, "resolution": facts.get("resolution")}


class Place(ABC):
    """Somewhere to put maps by name."""

    @abstractmethod
    def kept(self, name: str, fingerprint: str) -> dict[str, Any] | None:
        """Return what is told of these very maps if they are here, else None."""

    @abstractmethod
    def put(self, name: str, fingerprint: str, made: Made) -> dict[str, Any]:
        """Put maps here and return what is told of them."""

    @abstractmethod
    def absolute(self) -> Self:
        """Return the same place for a process with another working directory."""


@dataclass(frozen=True)
class StorePlace(Place):
    """A store: every set of maps is an entry group.

    Parameters
    ----------
    store : Store
    """

    store: Store

    def absolute(self) -> Self:
        """Return the store by its whole path."""
        return replace(self, store=Store(self.store.path.absolute()))

    def kept(self, name: str, fingerprint: str) -> dict[str, Any] | None:
        """Tell of the entry if it holds these very maps."""
        group = self.store.entry(name)
        if not group.exists():
            return None
        entry = group.attributes()["entry"]
        return {**_told(entry, group.grid()), "output": str(group.path)} if _same(entry, fingerprint) else None

    def put(self, name: str, fingerprint: str, made: Made) -> dict[str, Any]:
        """Write the entry aside and move it into the store as a whole: no entry has a map but no half maps.

        Raises
        ------
        StoreError
            If the store cannot be written, or another run is at this entry.
        UsageError
            If an entry of that name is there that was not simulated.
        """
        group = self.store.entry(name)
        if group.exists() and "fingerprint" not in group.attributes()["entry"]:
            raise UsageError(f"{group.path} was not simulated", cure="use another store, so that it is not replaced")
        aside = group.work / "simulation"
        with disk_errors(aside):
            aside.parent.mkdir(parents=True, exist_ok=True)
            with only_writer(aside):
                shutil.rmtree(aside, ignore_errors=True)  # what a killed run has left
                try:
                    self._write(Store(aside), name, fingerprint, made)
                    move_into_place(aside / group.path.name, group.path)
                finally:
                    shutil.rmtree(aside, ignore_errors=True)
                    group.tidy()
        return {**made.told(), "output": str(group.path)}

    @staticmethod
    def _write(store: Store, name: str, fingerprint: str, made: Made) -> None:
        group = store.create(name, {**made.facts, "fingerprint": fingerprint})
        for kind, (values, grid) in made.volumes.items():
            with VolumeWriter(group, kind, grid) as writer:
                for box in slabs(grid):
                    writer.add(0, np.asarray(values[box.slices], dtype=np.float32))
                writer.commit({"source": {"name": f"{name}_{kind}", "simulation": fingerprint}})


def _same(entry: Mapping[str, Any], fingerprint: str) -> bool:
    return entry.get("fingerprint") == fingerprint


@dataclass(frozen=True)
class FilePlace(Place):
    """MRC files: ``PREFIX_map.mrc``, ``PREFIX_half_map_1.mrc``, …, and ``PREFIX_simulation.json``.

    Parameters
    ----------
    prefix : Path
    several : bool
        Whether the names of the maps become part of the files': ``PREFIX_3hsy-1_map.mrc``.
    overwrite : bool
        Replace other files of these names.
    """

    prefix: Path
    several: bool = False
    overwrite: bool = False

    def absolute(self) -> Self:
        """Return the prefix by its whole path."""
        return replace(self, prefix=self.prefix.absolute())

    def path(self, name: str, kind: str, suffix: str = ".mrc") -> Path:
        """Return the file of a kind of map."""
        middle = f"{name}_" if self.several else ""
        return self.prefix.with_name(f"{self.prefix.name}_{middle}{kind}{suffix}")

    def _record(self, name: str) -> Path:
        return self.path(name, "simulation", ".json")

    def kept(self, name: str, fingerprint: str) -> dict[str, Any] | None:
        """Tell of the files if they are these very maps: their record, which is written last, says so."""
        try:
            found = json.loads(self._record(name).read_text(encoding="utf-8"))
            paths = [self.path(name, kind) for kind in found["kinds"]]
            if not (_same(found, fingerprint) and all(path.is_file() for path in paths)):
                return None
            with open_map(paths[0]) as reader:
                return {**_told(found, reader.grid), "output": [str(path) for path in paths]}
        except (OSError, ValueError, KeyError, TypeError, EmresError):
            return None

    def put(self, name: str, fingerprint: str, made: Made) -> dict[str, Any]:
        """Write the files, each whole, and then the record.

        Raises
        ------
        UsageError
            If another file is in the way and may not be replaced.
        StoreError
            If they cannot be written.
        """
        paths = {kind: self.path(name, kind) for kind in made.volumes}
        record = self._record(name)
        aside = record.with_name(f".{record.stem}.part")
        with disk_errors(aside):
            aside.parent.mkdir(parents=True, exist_ok=True)
            with only_writer(aside):
                # A run that was killed between two moves has left files of ours: they are not in the way.
                begun = _content(aside / _BEGUN) == fingerprint
                shutil.rmtree(aside, ignore_errors=True)
                for path in (*paths.values(), record):
                    if path.exists() and not (self.overwrite or begun):
                        raise UsageError(f"{path} exists already", cure="pass --force to replace it")
                self._write(aside, paths, made, fingerprint)
                for path in paths.values():
                    os.replace(aside / path.name, path)
                facts = {**made.facts, "fingerprint": fingerprint, "kinds": list(paths)}
                with replaced_file(record) as part:
                    part.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
                shutil.rmtree(aside)
        return {**made.told(), "output": [str(path) for path in paths.values()]}

    @staticmethod
    def _write(aside: Path, paths: Mapping[str, Path], made: Made, fingerprint: str) -> None:
        """Write all files aside, or nothing."""
        aside.mkdir()
        try:
            for kind, (values, grid) in made.volumes.items():
                volume = make_volume(np.asarray(values, dtype=np.float32), grid, kind=kind)
                write_mrc(aside / paths[kind].name, volume, labels=[f"{made.facts['title']} (emres)"])
            (aside / _BEGUN).write_text(fingerprint, encoding="utf-8")
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


def _content(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None
