"""What is written beside the voxels: safe names of folders, grids as JSON, what OME-Zarr readers want to know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emres.archive.chunk_writer import GROUP_FILE, read_attributes
from emres.errors import StoreError, UsageError
from emres.volume.grid import DIMS, Grid

FORMAT_VERSION = 1
LOCAL_RESOLUTION, UNCERTAINTY = "local_resolution", "uncertainty"
ANSWERS = (LOCAL_RESOLUTION, UNCERTAINTY)  # folders of an entry group for what was computed of its maps, in Å

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}\Z")
_TAKEN = (GROUP_FILE, *ANSWERS)


def is_name(name: str) -> bool:
    """Tell whether a name is safe as one folder."""
    return bool(_NAME.match(name)) and not name.endswith(".zarr")


def check_name(name: str, what: str = "name") -> str:
    """Return a name that is safe as one folder, else raise.

    Raises
    ------
    UsageError
        If it could leave its folder, or is empty or odd.
    """
    if not is_name(name):
        raise UsageError(
            f"{name!r} cannot be used as a {what}",
            expected="letters, digits and . _ - @ +, beginning with a letter or digit",
        )
    return name


def check_kind(kind: str) -> str:
    """Return a kind that is safe as a folder of an entry group: ``map``, …, ``local_resolution/<name>``; else raise.

    ``uncertainty/<name>`` is that of the local resolution of this name, one standard deviation, Å.

    Raises
    ------
    UsageError
        If it could leave the entry group, or would lie over what else is in it.
    """
    folder, slash, name = kind.rpartition("/")
    if folder not in (ANSWERS if slash else ("",)) or kind in _TAKEN:
        raise UsageError(
            f"{kind!r} is not a kind of map",
            expected=f"map, half_map_1, half_map_2, mask, … or {LOCAL_RESOLUTION}/<name>",
        )
    check_name(name, "kind of map")
    return kind


def variable_of(kind: str) -> str:
    """Return the name of the array of a kind inside its ``scaleN`` group."""
    folder = kind.partition("/")[0]
    return folder if folder in ANSWERS else "density"


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what is raised where a group or array cannot be read into an error of the store.

    Raises
    ------
    StoreError
    """
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        got, cure = str(error).split("\n")[0] or None, "see what a store holds with emres ls STORE"
        raise StoreError(f"{path} is not readable as Zarr v3", got=got, cure=cure) from error


def checked_attributes(found: Any, path: object) -> dict[str, Any]:
    """Return the attributes ``emres`` of a group, if this version can read what they tell.

    Raises
    ------
    StoreError
        If the group is not emres', or a newer emres wrote it.
    """
    if not isinstance(found, Mapping):
        raise StoreError(f"{path} is not an emres group", cure="bring the map in with emres import")
    version = found.get("format_version", FORMAT_VERSION)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise StoreError(
            f"{path} was written by a newer emres",
            got=f"format {version}",
            expected=f"format {FORMAT_VERSION} or older",
            cure="update emres",
        )
    return dict(found)


def attributes_to_renew(path: Path) -> dict[str, Any]:
    """Return all that the group of an entry tells, before it is told anew; nothing if there is no group.

    Raises
    ------
    StoreError
        If the group is not emres', or a newer emres wrote it.
    """
    if not (path / GROUP_FILE).is_file():
        return {}
    with readable(path):
        told = read_attributes(path)
        only_begun = not told and not any(part.is_dir() for part in path.iterdir())
    # Entries used to be made in two steps: a run that was killed between them left a group that tells nothing.
    if not only_begun:
        checked_attributes(told.get("emres"), path)
    return told


def grid_attributes(grid: Grid) -> dict[str, Any]:
    """Return a grid as JSON values."""
    return {"shape": list(grid.shape), "voxel_size": list(grid.voxel_size), "origin": list(grid.origin)}


def grid_from_attributes(found: Mapping[str, Any]) -> Grid:
    """Return the grid that :func:`grid_attributes` wrote down."""
    return Grid(*(tuple(found[key]) for key in ("shape", "voxel_size", "origin")))


def ome_attributes(grids: list[Grid], kind: str) -> dict[str, Any]:
    """Return the OME-NGFF 0.5 ``multiscales`` of a pyramid, in Å."""
    datasets = [
        {
            "path": f"scale{number}/{variable_of(kind)}",
            "coordinateTransformations": [
                {"type": "scale", "scale": list(grid.voxel_size)},
                {"type": "translation", "translation": list(grid.origin)},
            ],
        }
        for number, grid in enumerate(grids)
    ]
    axes = [{"name": dim, "type": "space", "unit": "angstrom"} for dim in DIMS]
    return {"version": "0.5", "multiscales": [{"name": kind, "axes": axes, "datasets": datasets, "type": "mean"}]}
