"""A map file -> one kind of an entry group in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emres.archive.mrc import open_map
from emres.archive.store import CHUNK, EntryGroup, Store
from emres.archive.writer import VolumeWriter
from emres.errors import MapError
from emres.volume.grid import Triple


def ingest(
    path: Path | str,
    group: EntryGroup,
    kind: str = "map",
    *,
    source: Mapping[str, Any] | None = None,
    voxel_size: float | Triple | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Stream a map file into an entry group, unless that very file is there already.

    Parameters
    ----------
    path : path
        MRC/CCP4 map, plain, gz or bz2.
    group : EntryGroup
        It exists.
    kind : str
        ``map``, ``half_map_1``, ``half_map_2``, ``mask``, …
    source : mapping, optional
        What is known of the file (``md5``, ``name``, …); computed where it is not given.
    voxel_size : float or (z, y, x), optional
        Å; overrides the header's.
    progress : callable, optional
        Called with (voxels done, voxels in all).

    Returns
    -------
    bool
        Whether anything was written.

    Raises
    ------
    MapError
        If the file is not a usable map.
    StoreError
        If the store cannot be written.
    """
    facts = dict(source) if source else file_facts(Path(path))
    facts["voxel_size"] = voxel_size
    if group.has(kind) and group.attributes(kind).get("source") == facts:
        return False
    with open_map(path, voxel_size) as reader, VolumeWriter(group, kind, reader.grid) as writer:
        done = 0
        for axis, _, slab in reader.slabs():
            writer.add(axis, slab)
            done += slab.size
            if progress is not None:
                progress(done, reader.grid.voxels)
        writer.commit({"mrc_header": reader.header.to_attrs(), "source": facts})
    return True


def file_facts(path: Path) -> dict[str, Any]:
    """Return name and md5 of a file.

    Raises
    ------
    MapError
        If it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return {"name": path.name, "md5": hashlib.file_digest(stream, "md5").hexdigest()}
    except OSError as error:
        raise MapError(f"{path} cannot be read", got=error.strerror, cure="check the path") from error


def import_map(
    path: Path | str,
    store: Store,
    name: str,
    *,
    kind: str = "map",
    voxel_size: float | Triple | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EntryGroup:
    """Bring a map of one's own into a store.

    Parameters
    ----------
    path : path
        MRC/CCP4 map, plain, gz or bz2.
    store : Store
    name : str
        Name of the entry; further kinds (half maps, a mask) join it under the same name.
    kind, voxel_size, progress
        See :func:`ingest`.

    Returns
    -------
    EntryGroup

    Raises
    ------
    MapError, StoreError, UsageError
        If the file, the store or the name is unusable; a new entry is not left behind without a map.
    """
    with open_map(path, voxel_size) as reader:  # a file that cannot be a map is refused before anything is made
        grid = reader.grid
    group = store.entry(name)
    if group.exists():
        group.attributes()  # raises where a newer emres wrote
    if group.exists() and kind != "map" and group.has("map") and not group.grid("map").matches(grid):
        raise MapError(
            f"the {kind} {path} lies on another grid than the map of {name}",
            got=f"{grid.shape} voxels",
            expected=f"{group.grid('map').shape}",
            cure="give it a name of its own",
        )
    new = not group.exists()
    if new:
        group = store.create(name, {"title": Path(path).name})
    try:
        ingest(path, group, kind, voxel_size=voxel_size, progress=progress)
    except BaseException:
        if new:
            group.discard()
        raise
    return group


def import_half_maps(
    half_maps: Sequence[Path | str],
    store: Store,
    name: str,
    *,
    map: Path | str | None = None,
    voxel_size: float | Triple | None = None,
) -> EntryGroup:
    """Bring two half maps of one's own into a store, with their map: the one that is given, or their average.

    Files that are there already and have not changed are not brought in again.

    Parameters
    ----------
    half_maps : two paths
    store : Store
    name : str
        Name of the entry.
    map : path, optional
        Sharpened or not, on the grid of the half maps.
    voxel_size : float or (z, y, x), optional
        Å; overrides the headers'.

    Returns
    -------
    EntryGroup

    Raises
    ------
    MapError, StoreError, UsageError
        If a file is no map, they lie on different grids, or the store or the name is unusable.
    """
    kinds = {"half_map_1": half_maps[0], "half_map_2": half_maps[1], **({} if map is None else {"map": map})}
    grids = {}
    for path in kinds.values():
        with open_map(path, voxel_size) as reader:
            grids[path] = reader.grid
    for path, grid in grids.items():
        if not grid.matches(grids[half_maps[0]]):
            raise MapError(
                f"{path} lies on another grid than {half_maps[0]}",
                got=f"{grid.shape} voxels of {grid.voxel_size} Å",
                expected=f"{grids[half_maps[0]].shape} of {grids[half_maps[0]].voxel_size} Å",
            )
    for kind in sorted(kinds, key=lambda kind: kind != "map"):
        group = import_map(kinds[kind], store, name, kind=kind, voxel_size=voxel_size)
    if map is None:
        _average(group)
    return group


def _average(group: EntryGroup) -> None:
    """Write the mean of the half maps as the map, unless it is there already."""
    halves = [group.attributes(kind) for kind in ("half_map_1", "half_map_2")]
    source = {"average_of": [half["source"] for half in halves]}
    if group.has("map") and group.attributes("map").get("source") == source:
        return
    first, second = (group.array(kind) for kind in ("half_map_1", "half_map_2"))
    with VolumeWriter(group, "map", group.grid("half_map_1")) as writer:
        for start in range(0, first.shape[0], CHUNK):
            pair = [np.asarray(half[start : start + CHUNK]) for half in (first, second)]
            writer.add(0, (pair[0] + pair[1]) * np.float32(0.5))
        writer.commit({"mrc_header": halves[0]["mrc_header"], "source": source})
