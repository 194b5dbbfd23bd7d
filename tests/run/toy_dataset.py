"""Data sets of a few small entries, for the tests of patches."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from scipy import ndimage

from emres.archive.manifest import DataSet, Row, write_dataset
from emres.archive.store import Store
from emres.volume.grid import Grid
from tests.archive.volumes import written

TARGET = "local_resolution/fsc"
GRID = Grid((56, 64, 72), (1.06, 1.06, 1.06), origin=(-20.0, 5.5, 0.0))


def texture(grid: Grid, seed: int, finest: float = 3.2) -> np.ndarray:
    """A ball of band-limited structure in weak noise: what a map looks like to a filter."""
    rng = np.random.default_rng(seed)
    sigma = finest / 2.5 / np.array(grid.voxel_size)
    smooth = ndimage.gaussian_filter(rng.normal(size=grid.shape), sigma)
    noise = ndimage.gaussian_filter(rng.normal(size=grid.shape), sigma)
    values = ball(grid) * (1 + smooth / smooth.std()) + 0.05 * noise / noise.std() + 0.3
    return values.astype(np.float32)


def ball(grid: Grid) -> np.ndarray:
    """Soft-edged, in the middle: 1 inside, 0 outside."""
    axes = (np.arange(n) - n / 2 for n in grid.shape)
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    distance = np.sqrt(z**2 + y**2 + x**2)
    return np.clip(0.3 * min(grid.shape) - distance, 0, 3) / 3


def target_of(grid: Grid, resolution: float) -> np.ndarray:
    """Coarser from front to back, in the ball."""
    z = np.linspace(0.9, 1.1, grid.shape[0])[:, None, None]
    return np.where(ball(grid) > 0.5, resolution * z, 0).astype(np.float32)


def add_entry(
    store: Store,
    name: str,
    *,
    grid: Grid = GRID,
    resolution: float = 3.5,
    halves: bool = False,
    split: str = "train",
    family: str | None = None,
    seed: int | None = None,
) -> Row:
    """Write an entry with map, target and, if asked, half maps, and return its row."""
    group, seed = store.create(name, {}), len(name) + ord(name[-1]) if seed is None else seed
    values = texture(grid, seed)
    written(group, "map", values, grid, source={"name": name})
    if halves:
        noise = np.random.default_rng(seed + 1000).normal(size=grid.shape).astype(np.float32)
        written(group, "half_map_1", values + 0.2 * noise, grid)
        written(group, "half_map_2", values - 0.2 * noise, grid)
    target = target_of(grid, resolution)
    written(group, TARGET, target, grid, window=30.0)
    inside = target[target > 0]
    return Row(
        name,
        "store",
        TARGET,
        split,
        family or name,
        1.0,
        ("map", "average") if halves else ("map",),
        resolution,
        float(np.percentile(inside, 5)),
        float(np.percentile(inside, 95)),
        math.prod(grid.voxel_size) ** (1 / 3),
        int(inside.size),
    )


def toy_dataset(folder: Path, entries: int = 3, **changes: object) -> DataSet:
    """A data set of a few entries of different resolution, and one to validate on."""
    store = Store(folder / "store")
    rows = [
        add_entry(store, f"e{k}", resolution=3.0 * 1.3**k, halves=k == 0, **changes)  # type: ignore[arg-type]
        for k in range(entries)
    ]
    rows.append(add_entry(store, "v", split="validation"))
    dataset = DataSet(folder, tuple(rows), {"seed": 0})
    write_dataset(dataset)
    return dataset
