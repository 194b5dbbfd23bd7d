"""Small volumes in a store, for the tests of the Zarr door."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emres.archive.store import EntryGroup, Store
from emres.archive.writer import VolumeWriter
from emres.volume.grid import Grid

GRID = Grid((70, 96, 33), (1.1, 1.2, 1.3), origin=(-20.0, 5.5, 0.0))


def noise(grid: Grid = GRID, seed: int = 0) -> np.ndarray:
    """Density without structure."""
    return np.random.default_rng(seed).normal(3, 2, grid.shape).astype(np.float32)


def written(group: EntryGroup, kind: str, values: np.ndarray, grid: Grid = GRID, **attributes: object) -> None:
    """Write a whole volume as one kind of an entry group."""
    with VolumeWriter(group, kind, grid) as writer:
        writer.add(0, values)
        writer.commit(attributes)


def filled_store(path: Path) -> Store:
    """A store of one entry with a map, a half map, a mask and two results."""
    store = Store(path)
    group = store.create("EMD-1234", {"title": "A test"})
    written(group, "half_map_1", noise(seed=1))
    written(group, "map", noise(), mrc_header={"mode": 2}, contour_level=0.0)
    written(group, "mask", (noise() > 3).astype(np.float32))
    for model in ("b@1", "a@1-beta"):
        written(group, f"local_resolution/{model}", np.abs(noise()), model=model)
    return store


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
