"""What a store holds, what a map is, how far a run has come."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from emres.archive.mrc import open_map
from emres.archive.scratch import DiskScratch
from emres.archive.store import EntryGroup, Store, open_entry
from emres.errors import StoreError
from emres.run.batch_record import runs_of
from emres.run.blockwise import DONE

_FINGERPRINT = re.compile(r"-[0-9a-f]{16}(-\d+)?\Z")  # behind the name of a result under way


def survey(store: Path | str) -> list[dict[str, Any]]:
    """Return one record for every entry of a store that holds a map.

    Returns
    -------
    list of dict
        ``name``, ``title``, ``shape`` (z, y, x), ``voxel_size`` (mean, Å), ``resolution`` (reported, Å or None),
        ``median`` (of the newest local resolution, Å or None), ``kinds``.

    Raises
    ------
    StoreError
        If there is no such folder.
    """
    return [_record(group) for group in _existing(store) if group.has("map")]


def _existing(store: Path | str) -> Store:
    if not Path(store).is_dir():
        raise StoreError(f"there is no store {store}", cure="make one: emres fetch EMD-13939 --to STORE")
    return Store(Path(store))


def _record(group: EntryGroup) -> dict[str, Any]:
    entry, grid, results = group.attributes()["entry"], group.grid(), group.results()
    return {
        "name": group.name,
        "title": entry.get("title"),
        "shape": list(grid.shape),
        "voxel_size": grid.mean_voxel_size,
        "resolution": entry.get("resolution"),
        "median": group.attributes(results[-1]).get("median") if results else None,
        "kinds": group.kinds(),
    }


def describe(source: Path | str, voxel_size: float | None = None) -> dict[str, Any]:
    """Return what is known of a map file or an entry group, as JSON values.

    Raises
    ------
    MapError, StoreError
        If it is neither.
    """
    path = Path(source)
    if path.suffix == ".zarr" or path.is_dir():
        group = open_entry(path)
        kinds = {kind: _described_kind(group, kind) for kind in group.kinds()}
        return {"name": group.name, "entry": group.attributes()["entry"], **kinds}
    with open_map(path, voxel_size) as reader:
        header = reader.header.to_attrs()
        grid = reader.grid
    return {
        "file": str(path),
        "shape": list(grid.shape),
        "voxel_size": list(grid.voxel_size),
        "origin": list(grid.origin),
        "header": header,
    }


def _described_kind(group: EntryGroup, kind: str) -> dict[str, Any]:
    attributes, grid = group.attributes(kind), group.grid(kind)
    shown = (
        "statistics", "source", "model", "method", "definition", "threshold", "window", "mask",
        "median", "p05", "p95", "voxels", "capped_share", "unresolved_share", "warnings", "date", "program",
    )  # fmt: skip
    facts = {key: attributes[key] for key in shown if key in attributes}
    return {"shape": list(grid.shape), "voxel_size": list(grid.voxel_size), "origin": list(grid.origin), **facts}


def progress_of(store: Path | str) -> dict[str, Any]:
    """Return how far the work in a store is, from what lies on the disk.

    Returns
    -------
    dict
        ``entries``, ``predicted``, ``under_way``: list of ``name``, ``what``, ``done``, ``blocks``; ``runs``: as
        :func:`emres.run.batch_record.runs_of` tells them.

    Raises
    ------
    StoreError
        If there is no such folder.
    """
    groups = list(_existing(store))
    work = Path(store) / ".work"
    folders = (folder for folder in sorted(work.glob("*/*")) if folder.is_dir())
    under_way = [_unfinished(folder) for folder in folders]
    return {
        "entries": len(groups),
        "predicted": sum(bool(group.results()) for group in groups),
        "runs": runs_of(Store(Path(store))),
        "under_way": under_way,
    }


def _unfinished(folder: Path) -> dict[str, Any]:
    found = {
        "name": folder.parent.name,
        "what": _FINGERPRINT.sub("", folder.name).replace("+", "/", 1),
        "done": 0,
        "blocks": 0,
    }
    scratch = DiskScratch(folder)
    if scratch.notes().get("ready"):
        done = np.asarray(scratch.open(DONE)[...])
        found |= {"done": int(done.sum()), "blocks": done.size}
    return found
