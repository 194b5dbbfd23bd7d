"""The store: a folder of Zarr v3 entry groups, ``STORE/EMD-13939.zarr``. It is read here and written by ``writer``.

::

    EMD-13939.zarr/                       attributes.emres: format_version, entry
      map/                                attributes.ome: OME-NGFF 0.5; attributes.emres: grid, mrc_header, statistics
        scale0/density  z  y  x           float32, chunks 64^3, coordinates in Å
        scale1/...                        means of 2^3 voxels of the level before
      half_map_1/ half_map_2/ mask/       the same
      local_resolution/<model@version>/   the same, scale0/local_resolution; attributes.emres: fingerprint, ...
      uncertainty/<model@version>/        the same, scale0/uncertainty, where the model tells it

Whatever is under way lies in ``STORE/.work`` and is moved into its entry group when it is whole: a group that can be
seen can be read.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emres.archive.attributes import (
    ANSWERS,
    FORMAT_VERSION,
    attributes_to_renew,
    check_kind,
    check_name,
    checked_attributes,
    grid_from_attributes,
    is_name,
    readable,
)
from emres.archive.attributes import LOCAL_RESOLUTION as LOCAL_RESOLUTION
from emres.archive.attributes import variable_of as variable_of
from emres.archive.chunk_reader import ChunkReader
from emres.archive.chunk_writer import read_attributes, write_group
from emres.archive.disk import disk_errors
from emres.errors import StoreError, UsageError
from emres.volume.grid import Grid, make_volume

if TYPE_CHECKING:
    import xarray as xr
    import zarr

CHUNK = 64


@dataclass(frozen=True)
class EntryGroup:
    """One ``<name>.zarr`` and what is in it.

    Parameters
    ----------
    path : Path
        The folder ``STORE/<name>.zarr``.
    """

    path: Path

    @property
    def name(self) -> str:
        """Accession ("EMD-13939") or the name given on import."""
        return self.path.name.removesuffix(".zarr")

    @property
    def work(self) -> Path:
        """Where this entry's unfinished business lies."""
        return self.path.parent / ".work" / self.name

    def exists(self) -> bool:
        """Tell whether there is such an entry in the store."""
        return (self.path / "zarr.json").is_file()

    def attributes(self, kind: str = "") -> dict[str, Any]:
        """Return emres' own attributes of the entry, or of one kind in it.

        Raises
        ------
        StoreError
            If there is no such group, it is not emres', or a newer emres wrote it.
        """
        path = self._folder(kind) if kind else self.path
        with readable(path):
            return checked_attributes(read_attributes(path).get("emres"), path)

    def has(self, kind: str) -> bool:
        """Tell whether a kind (``map``, ``local_resolution/<name>``, …) is there, whole."""
        return (self._folder(kind) / "zarr.json").is_file()

    def _folder(self, kind: str) -> Path:
        return self.path / check_kind(kind)

    def kinds(self) -> list[str]:
        """Return every kind in the group: maps, local resolutions, uncertainties."""
        maps = [name for name in _groups_in(self.path) if name not in ANSWERS]
        answers = [f"{answer}/{name}" for answer in ANSWERS for name in _groups_in(self.path / answer)]
        return sorted(maps, key=lambda kind: (kind != "map", kind)) + answers

    def results(self) -> list[str]:
        """Return the local-resolution maps in the group, ``local_resolution/<name>``."""
        return [f"{LOCAL_RESOLUTION}/{name}" for name in _groups_in(self.path / LOCAL_RESOLUTION)]

    def grid(self, kind: str = "map", level: int = 0) -> Grid:
        """Return the grid of a kind at a level of its pyramid.

        Raises
        ------
        StoreError
            If the kind is not there.
        UsageError
            If it has no such level.
        """
        levels = self._levels(kind)
        if level not in range(len(levels)):
            raise UsageError(
                f"the {kind} of {self.name} has no such level", got=f"{level}", expected=f"0 to {len(levels) - 1}"
            )
        return grid_from_attributes(levels[level])

    def levels(self, kind: str = "map") -> int:
        """Return how many levels the pyramid of a kind has."""
        return len(self._levels(kind))

    def _levels(self, kind: str) -> list[dict[str, Any]]:
        if not self.has(kind):
            have = ", ".join(self.kinds()) if self.exists() else "nothing"
            raise StoreError(f"{self.path} has no {kind}", got=have, cure=f"fetch it: emres fetch {self.name}")
        levels: list[dict[str, Any]] = self.attributes(kind).get("levels", [])
        return levels

    def array(self, kind: str = "map", level: int = 0) -> zarr.Array[Any]:
        """Return the Zarr array of a kind, (z, y, x) float32."""
        import zarr

        self.grid(kind, level)
        path = self._folder(kind) / f"scale{level}" / variable_of(kind)
        with readable(path):
            return zarr.open_array(path, mode="r")

    def voxels(self, kind: str = "map", level: int = 0) -> ChunkReader:
        """Return the same as what boxes are read from faster, without Zarr where emres wrote it."""
        self.grid(kind, level)
        path = self._folder(kind) / f"scale{level}" / variable_of(kind)
        return ChunkReader.at(path, lambda: self.array(kind, level))

    def pyramid(self, kind: str = "map") -> StoredPyramid:
        """Return a kind as something that can be read at several samplings."""
        return StoredPyramid(self, kind)

    def tidy(self) -> None:
        """Remove the entry's work folder if nothing is in it any more."""
        if not self.work.exists():
            return
        for folder in (*(sub for sub in self.work.glob("*") if sub.is_dir()), self.work):
            # Another process may be making use of it just now: rmdir fails then, as it should.
            with suppress(OSError):
                folder.rmdir()

    def _repr_html_(self) -> str:
        from emres.archive.notebook import entry_html

        return entry_html(self)

    def discard(self) -> None:
        """Remove the whole entry and its unfinished business."""
        for folder in (self.path, self.work):
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class StoredPyramid:
    """A kind of an entry group at its several samplings (see ``emres.volume.pyramid.Pyramid``)."""

    group: EntryGroup
    kind: str

    @property
    def levels(self) -> int:
        """How many samplings there are."""
        return self.group.levels(self.kind)

    def grid(self, level: int = 0) -> Grid:
        """Return the grid of a level."""
        return self.group.grid(self.kind, level)

    def array(self, level: int = 0) -> ChunkReader:
        """Return the voxels of a level, to be sliced."""
        return self.group.voxels(self.kind, level)


@dataclass(frozen=True)
class Store:
    """A folder that holds entry groups; ``path`` may be a string."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    def entry(self, name: str) -> EntryGroup:
        """Return the entry group of a name; it need not exist yet.

        Raises
        ------
        UsageError
            If the name could leave the store.
        """
        return EntryGroup(self.path / f"{check_name(name, 'name of an entry')}.zarr")

    def __iter__(self) -> Iterator[EntryGroup]:
        folders = sorted(self.path.glob("*.zarr")) if self.path.is_dir() else []
        return (group for group in map(EntryGroup, folders) if group.exists())

    def _repr_html_(self) -> str:
        from emres.archive.notebook import store_html

        return store_html(self)

    def create(self, name: str, entry: Mapping[str, Any]) -> EntryGroup:
        """Create an entry group, or renew the metadata of one that is there.

        Parameters
        ----------
        name : str
        entry : mapping
            The entry's metadata (JSON values).

        Raises
        ------
        StoreError
            If the store cannot be written, or a newer emres wrote the entry.
        """
        group = self.entry(name)
        before = attributes_to_renew(group.path)
        own = {"format_version": FORMAT_VERSION, "entry": dict(entry)}
        with disk_errors(self.path):
            # In one step: whoever is killed leaves an entry that tells what it is, or none.
            write_group(group.path, {**before, "emres": own})
        return group


def open_entry(path: Path | str) -> EntryGroup:
    """Open ``STORE/<name>.zarr``.

    Raises
    ------
    StoreError
        If it is not there or is not an emres entry group this version can read.
    """
    group = EntryGroup(Path(os.path.abspath(path)))
    if not group.exists():
        raise StoreError(f"there is no entry group {path}", cure="see what a store holds with emres ls STORE")
    group.attributes()
    return group


def open_volume(path: Path | str, kind: str = "map", level: int = 0) -> xr.DataArray:
    """Open a volume of an entry group lazily.

    Parameters
    ----------
    path : path
        ``STORE/EMD-13939.zarr``.
    kind : str
        ``map``, ``half_map_1``, ``half_map_2``, ``mask`` or ``local_resolution/<name>``.
    level : int
        0 is the map itself; every further level has voxels twice as large.

    Returns
    -------
    xarray.DataArray
        (z, y, x) float32, dask-backed, coordinates in Å; attributes ``emdb_id``, ``kind``, ``mrc_header``.

    Raises
    ------
    StoreError
        If the entry or the kind is not there.
    """
    import dask.array as da

    group = open_entry(path)
    attributes = group.attributes(kind) if group.has(kind) else {}
    grid = group.grid(kind, level)
    extra = {key: attributes[key] for key in ("mrc_header", "contour_level", "model") if key in attributes}
    lazy = da.from_zarr(group.array(kind, level), inline_array=True)
    return make_volume(lazy, grid, emdb_id=group.name, kind=kind, **extra)


def _groups_in(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/zarr.json") if is_name(path.parent.name))
