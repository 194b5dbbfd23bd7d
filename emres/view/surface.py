"""The surface of a map at a contour level, with the local resolution at each of its vertices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.errors import MapError, UsageError
from emres.view.sampling import MOST_VOXELS, Sampler, coarsened, in_memory
from emres.volume.grid import grid_of
from emres.volume.masking import without_dust

if TYPE_CHECKING:
    import xarray as xr

Array = np.ndarray[Any, Any]

MOST_FACES = 300_000
DUST = 0.01  # of the largest piece


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles.

    Parameters
    ----------
    vertices : (n, 3) float32
        z, y, x in Å.
    faces : (m, 3) int32
        Indices of vertices; counter-clockwise as seen from outside (the lower density), in right-handed x, y, z.
    normals : (n, 3) float32
        z, y, x of length 1, pointing outside.
    resolution : (n,) float32
        Å, or NaN where not determined.
    level : float
        The contour level.
    voxel_size : (z, y, x) Å
        Of the sampling that it was found on.
    """

    vertices: Array
    faces: Array
    normals: Array
    resolution: Array
    level: float
    voxel_size: tuple[float, float, float]


def surface(
    volume: xr.DataArray,
    level: float,
    resolution: xr.DataArray | None = None,
    *,
    step: int | None = None,
    most_faces: int = MOST_FACES,
    most_voxels: int = MOST_VOXELS,
    dust: float = DUST,
) -> Surface:
    """Return the surface of a map at a contour level (marching cubes of Lewiner et al. 2003), coloured at the surface.

    Parameters
    ----------
    volume : Volume
        (z, y, x) density. A lazy one is read slab by slab and averaged to ``most_voxels``; of a stored pyramid a level
        that is small already is read quicker.
    level : float
        Density.
    resolution : Volume, optional
        Å, on any grid over the same molecule; 0, NaN or 100 where not determined. It is carried 5 voxels beyond its
        mask (:class:`emres.view.sampling.Sampler`).
    step : int, optional
        Average cubes of so many voxels first. By default the least that keeps to ``most_faces``.
    most_faces : int
    most_voxels : int
        Of the map, in memory.
    dust : float
        Pieces smaller than this share of the largest are left out.

    Returns
    -------
    Surface
        Closed also where the molecule reaches the faces of the box.

    Raises
    ------
    MapError
        If the map never crosses the level.
    UsageError
        If ``step`` is below 1.
    """
    if step is not None and step < 1:
        raise UsageError("the step of a surface is below 1", got=str(step), expected="1, 2, …")
    fine = in_memory(volume, most_voxels)
    sampled = coarsened(fine, step) if step else _within(fine, level, most_faces)
    grid = grid_of(sampled)
    vertices, faces = _triangles(_clean(sampled.values, level, dust), level)
    vertices = (vertices * np.array(grid.voxel_size) + np.array(grid.origin)).astype(np.float32)
    unknown = np.full(len(vertices), np.nan, dtype=np.float32)
    found = unknown if resolution is None else Sampler(in_memory(resolution, most_voxels))(vertices)
    return Surface(vertices, faces, _normals(vertices, faces), found, level, grid.voxel_size)


def check_level(values: Array, level: float) -> None:
    """Raise unless a map crosses a contour level.

    Raises
    ------
    MapError
    """
    low, high = float(values.min()), float(values.max())
    if not low <= level < high:
        raise MapError(
            "the map has no surface at this contour level",
            got=f"level {level:.6g}",
            expected=f"between {low:.6g} and {high:.6g}",
            cure="pass another level",
        )


def _within(volume: xr.DataArray, level: float, most_faces: int) -> xr.DataArray:
    """Average until the surface keeps to its number of faces; every edge that crosses the level bears a vertex."""
    factor, sampled = 1, volume
    while 2 * _crossings(sampled.values > level) > most_faces and max(sampled.shape) > 8:
        factor += 1
        coarser = coarsened(volume, factor)
        if float(coarser.values.max()) <= level:  # thin features: rather too many faces than none
            break
        sampled = coarser
    return sampled


def _crossings(above: Array) -> int:
    return sum(int(np.count_nonzero(np.diff(above, axis=axis))) for axis in range(3))


def _clean(values: Array, level: float, dust: float) -> Array:
    """Return the density without dust, and with a rim below the level so that the surface is closed."""
    check_level(values, level)
    above = values > level
    below = np.float32(min(float(values.min()), level - 1e-3 * (float(values.max()) - level)))
    padded = np.full([n + 2 for n in values.shape], below, dtype=np.float32)
    padded[1:-1, 1:-1, 1:-1] = np.where(above & ~without_dust(above, dust), below, values)
    return padded


def _triangles(padded: Array, level: float) -> tuple[Array, Array]:
    """Return vertices (in voxels of the map without its rim) and faces."""
    from skimage.measure import marching_cubes

    vertices, faces, _, _ = marching_cubes(padded, level, allow_degenerate=False)
    return vertices - 1, np.ascontiguousarray(faces, dtype=np.int32)


def _normals(vertices: Array, faces: Array) -> Array:
    """Return the mean normal of the faces round each vertex, weighted by their areas."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    # z, y, x is a mirror image of x, y, z: the cross product points the other way.
    outward = -np.cross(b - a, c - a)
    sums = np.zeros((len(vertices), 3))
    for axis in range(3):
        for corner in range(3):
            sums[:, axis] += np.bincount(faces[:, corner], weights=outward[:, axis], minlength=len(vertices))
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.where(length > 0, length, 1), dtype=np.float32)
