"""The curves of the places of a data set's maps, with the target at each: files beside the manifest, one a map.

A data set of thousands of maps has hundreds of megabytes of them, which nobody holds at once.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from emres.archive.disk import disk_errors, replaced_file
from emres.archive.manifest import DataSet, Row
from emres.archive.store import Store
from emres.errors import StoreError
from emres.run.kept_facts import FORMAT
from emres.volume.grid import Triple
from emres.volume.place_curves import PlaceCurves

Array = np.ndarray[Any, Any]

FOLDER = "curves"
_FIELDS = ("values", "places", "inside", "shape", "start", "step")


def curves_path(dataset: DataSet, key: str) -> Path:
    """Return where the curves of a map lie, by the key of its facts."""
    return dataset.folder / FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"


def write_curves(
    dataset: DataSet, row: Row, key: str, curves: PlaceCurves, voxel_size: float, start: Triple = (0.0, 0.0, 0.0)
) -> None:
    """Write the curves of a map, and its target at each place.

    Parameters
    ----------
    dataset, row, key
        Which map.
    curves : PlaceCurves
    voxel_size : float
        Å, of the voxels that the places are counted in.
    start : (z, y, x)
        Å, where these begin on the grid of the target.
    """
    target = target_of(dataset, row, curves, voxel_size, start)
    path = curves_path(dataset, key)
    path.parent.mkdir(exist_ok=True)
    arrays: dict[str, Any] = {name: np.asarray(getattr(curves, name)) for name in _FIELDS}
    with replaced_file(path) as part, part.open("wb") as file:
        np.savez(file, target=target, **arrays)


def write_no_curves(dataset: DataSet, key: str) -> None:
    """Note that a map has none, so that nobody tries again before numbers are taken in another way: an empty file."""
    path = _none_path(dataset, key)
    with disk_errors(path):
        path.parent.mkdir(exist_ok=True)
        path.touch()


def has_no_curves(dataset: DataSet, key: str) -> bool:
    """Whether it is known that a map has none."""
    return _none_path(dataset, key).exists()


def _none_path(dataset: DataSet, key: str) -> Path:
    return curves_path(dataset, f"{key} has none, format {FORMAT}")


def target_of(
    dataset: DataSet, row: Row, curves: PlaceCurves, voxel_size: float, start: Triple = (0.0, 0.0, 0.0)
) -> Array:
    """Return the target at each place of a map, (n,) Å: 0 where there is none.

    Parameters
    ----------
    dataset, row, curves, voxel_size, start
        As for :func:`write_curves`.
    """
    places = curves.voxels() * voxel_size + np.array(start)
    group = Store(dataset.store_of(row)).entry(row.entry)
    target = np.asarray(group.array(row.target)[:])
    nearest = np.round(places / np.array(group.grid(row.target).voxel_size)).astype(int)
    within = ((nearest >= 0) & (nearest < target.shape)).all(axis=1)
    found = np.zeros(len(places), dtype=np.float32)
    found[within] = target[tuple(nearest[within].T)]
    return found


def read_curves(dataset: DataSet, key: str) -> tuple[PlaceCurves, Array]:
    """Return the curves of a map, and the target at their places, (n,) Å, 0 where there is none.

    Raises
    ------
    StoreError
        If they are not there, or damaged.
    """
    path = curves_path(dataset, key)
    try:
        with np.load(path, allow_pickle=False) as file:
            values, places, inside = (file[name] for name in _FIELDS[:3])
            shape, start = ((int(z), int(y), int(x)) for z, y, x in (file["shape"], file["start"]))
            return PlaceCurves(values, places, inside, shape, start, int(file["step"])), file["target"]
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"the curves of a map are missing or damaged: {path}", cure=f"remove {dataset.folder / 'patches.json'}"
        ) from error
