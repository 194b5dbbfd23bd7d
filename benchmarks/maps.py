"""Synthetic maps of any size, made slab by slab: what the benchmarks predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from emres.archive.store import CHUNK, EntryGroup, Store
from emres.archive.writer import VolumeWriter
from emres.run.masks import slabs
from emres.volume.blocks import Box
from emres.volume.grid import Grid

Array = np.ndarray[Any, Any]

_NOISE = 0.05


def ball_entry(folder: Path, side: int, voxel_size: float, share: float = 0.15) -> EntryGroup:
    """Put a box of noise with a textured ball in its middle into a new store.

    Parameters
    ----------
    folder : Path
    side : int
        Voxels.
    voxel_size : float
        Å.
    share : float
        Of the box's volume that the ball fills.

    Returns
    -------
    EntryGroup
    """
    radius = side * (0.75 * share / np.pi) ** (1 / 3)
    grid = Grid((side,) * 3, (voxel_size,) * 3)
    group = Store(folder).create(f"ball-{side}", {"title": "a ball"})
    tile = _tile()
    with VolumeWriter(group, "map", grid) as writer:
        for box in slabs(grid):
            writer.add(0, _slab(box, grid, radius, tile))
        writer.commit({"source": {"name": f"ball-{side}"}})
    return group


def _tile() -> tuple[Array, Array]:
    """Return a periodic piece of molecule (positive, smooth at 3 voxels) and one of noise, both 64^3."""
    rng = np.random.default_rng(7)
    noise, texture = rng.normal(size=(2, CHUNK, CHUNK, CHUNK)).astype(np.float32)
    texture = ndimage.gaussian_filter(texture, 1.2, mode="wrap")
    return 1 + texture / (3 * texture.std()), _NOISE * noise


def _slab(box: Box, grid: Grid, radius: float, tile: tuple[Array, Array]) -> Array:
    repeats = [-(-n // CHUNK) for n in box.shape]
    texture, noise = (np.tile(part, repeats)[tuple(slice(n) for n in box.shape)] for part in tile)
    z, y, x = (
        np.arange(a, b, dtype=np.float32) - n / 2 for a, b, n in zip(box.start, box.stop, grid.shape, strict=True)
    )
    distance = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)
    return np.asarray(np.where(distance < radius, texture, 0) + noise)
