"""What a picture reads of a volume: no more than it can show, and resolutions where a surface lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from emres.volume.grid import Grid, grid_of, make_volume
from emres.volume.pyramid import block_mean
from emres.volume.resolved import determined

if TYPE_CHECKING:
    import xarray as xr

Array = np.ndarray[Any, Any]

MOST_VOXELS = 256**3
REACH = 5  # voxels: how far beyond the mask a resolution is carried

_CORNERS = [(z, y, x) for z in (0, 1) for y in (0, 1) for x in (0, 1)]


def in_memory(volume: xr.DataArray, most_voxels: int = MOST_VOXELS) -> xr.DataArray:
    """Return a volume held in memory, averaged over cubes of voxels until it is small enough.

    A lazy volume is read slab by slab. Of a stored pyramid pass a level that is small already: it is read quicker.

    Parameters
    ----------
    volume : Volume
        (z, y, x).
    most_voxels : int

    Returns
    -------
    Volume
        float32; the volume's own voxels where they fit.
    """
    grid = grid_of(volume)
    factor = 1
    while _coarser(grid, factor).voxels > most_voxels:
        factor += 1
    if factor == 1:
        return make_volume(np.asarray(volume.values, dtype=np.float32), grid, kind=str(volume.attrs.get("kind", "map")))
    thickness = factor * max(1, 64 // factor)
    parts = [
        block_mean(np.asarray(volume.isel(z=slice(k, k + thickness)).values, dtype=np.float32), factor)
        for k in range(0, grid.shape[0], thickness)
    ]
    return make_volume(np.concatenate(parts), _coarser(grid, factor), kind=str(volume.attrs.get("kind", "map")))


def coarsened(volume: xr.DataArray, factor: int) -> xr.DataArray:
    """Return a volume in memory with voxels ``factor`` times as large, each the mean of ``factor``^3."""
    if factor == 1:
        return volume
    return make_volume(block_mean(volume.values, factor), _coarser(grid_of(volume), factor))


def _coarser(grid: Grid, factor: int) -> Grid:
    z, y, x = (-(-n // factor) for n in grid.shape)
    dz, dy, dx = (size * factor for size in grid.voxel_size)
    oz, oy, ox = grid.to_angstrom(((factor - 1) / 2,) * 3)
    return Grid((z, y, x), (dz, dy, dx), (oz, oy, ox))


class Sampler:
    """Resolutions at any position, at and a little beyond the edge of the mask.

    Between voxels it is linear over those that are determined, so that what lies outside the mask (0, or ResMap's 100)
    never bleeds in; beyond them it is the nearest one's, up to ``reach`` voxels away.

    Parameters
    ----------
    resolution : Volume
        (z, y, x) Å; 0, NaN or 100 where not determined.
    reach : int
        Voxels.
    """

    def __init__(self, resolution: xr.DataArray, reach: int = REACH) -> None:
        self._grid = grid_of(resolution)
        values = np.asarray(resolution.values, dtype=np.float32)
        self._known = determined(values)
        self._values = np.where(self._known, values, np.float32(0))
        self._reach = reach * max(self._grid.voxel_size)
        self._tree: Any = None

    def __call__(self, positions: Array) -> Array:
        """Return Å at (n, 3) positions (z, y, x, Å); NaN where nothing is determined within reach."""
        answer = self._between(positions)
        lost = np.flatnonzero(np.isnan(answer))
        if lost.size and self._known.any():
            answer[lost] = self._nearest(positions[lost])
        return answer

    def _between(self, positions: Array) -> Array:
        """Interpolate linearly over the determined corners of each position's cell; NaN where there is none."""
        index = (positions - np.array(self._grid.origin)) / np.array(self._grid.voxel_size)
        last = np.array(self._grid.shape) - 1
        inside = ((index >= -0.5) & (index <= last + 0.5)).all(axis=1)
        index = np.clip(index, 0, last)
        first = np.minimum(index.astype(np.intp), np.maximum(last - 1, 0))
        part = (index - first).astype(np.float32)
        total, weights = np.zeros(len(index), np.float32), np.zeros(len(index), np.float32)
        for corner in _CORNERS:
            weight = np.prod(np.where(np.array(corner, bool), part, 1 - part), axis=1)
            where = tuple(np.minimum(first + corner, last).T)
            weights += weight * self._known[where]
            total += weight * self._values[where]
        found = inside & (weights > 1e-6)
        return np.where(found, total / np.where(found, weights, 1), np.nan).astype(np.float32)

    def _nearest(self, positions: Array) -> Array:
        if self._tree is None:
            from scipy.spatial import KDTree

            # What lies outside the mask is nearest to a voxel at its edge.
            edge = np.argwhere(self._known & ~ndimage.binary_erosion(self._known))
            self._edge = self._values[tuple(edge.T)]
            self._tree = KDTree(edge * np.array(self._grid.voxel_size) + np.array(self._grid.origin))
        distance, nearest = self._tree.query(positions, distance_upper_bound=self._reach)
        found = np.isfinite(distance)
        return np.where(found, self._edge[np.where(found, nearest, 0)], np.nan).astype(np.float32)
