"""A picture of the coloured surface, from several sides: rays through the voxels, without a display or a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from emres.errors import MapError
from emres.view.palette import Palette
from emres.view.sampling import MOST_VOXELS, Sampler, in_memory
from emres.view.shading import fog, lit, open_sky, reduced
from emres.view.surface import DUST, check_level
from emres.volume.boxes import bounding_box
from emres.volume.grid import Grid, grid_of
from emres.volume.masking import without_dust
from emres.volume.resample import apply_matrices

if TYPE_CHECKING:
    import xarray as xr

Array = np.ndarray[Any, Any]

PIXELS = 420
_SUPERSAMPLED = 2
_FINE = 160  # voxels along the longest axis: smaller maps are interpolated to as many, else one sees the voxels
_RIM = 2  # voxels

# (name, axis that points right, up, towards the viewer) with signs, all right-handed as in x, y, z
VIEWS = {
    "front": ((2, 1), (1, 1), (0, 1)),
    "side": ((0, -1), (1, 1), (2, 1)),
    "top": ((2, 1), (0, -1), (1, 1)),
}
CAPTIONS = {"front": "from +z", "side": "from +x", "top": "from +y"}


@dataclass(frozen=True, eq=False)
class Scene:
    """A molecule ready to be looked at: density cropped to it, without dust, fine enough; and the resolution round it.

    Parameters
    ----------
    density : (z, y, x) float32
    grid : Grid
        Of the density.
    level : float
    sampler : Sampler
    """

    density: Array
    grid: Grid
    level: float
    sampler: Sampler


@dataclass(frozen=True, eq=False)
class Picture:
    """What is seen from one side.

    Parameters
    ----------
    name : str
    rgba : (rows, columns, 4) float32
        0-1, rows from the top; transparent where nothing is hit.
    pixel_size : float
        Å.
    """

    name: str
    rgba: Array
    pixel_size: float

    @property
    def extent(self) -> tuple[float, float]:
        """Height and width in Å."""
        return self.rgba.shape[0] * self.pixel_size, self.rgba.shape[1] * self.pixel_size


def make_scene(
    volume: xr.DataArray,
    level: float,
    resolution: xr.DataArray,
    *,
    most_voxels: int = MOST_VOXELS,
    dust: float = DUST,
) -> Scene:
    """Get a map ready for :func:`render`.

    Parameters
    ----------
    volume : Volume
        (z, y, x) density; a lazy one is read slab by slab and averaged to ``most_voxels``.
    level : float
        Density.
    resolution : Volume
        Å, on any grid over the same molecule.
    most_voxels : int
    dust : float
        Pieces smaller than this share of the largest are left out.

    Returns
    -------
    Scene

    Raises
    ------
    MapError
        If the map never crosses the level.
    """
    held = in_memory(volume, most_voxels)
    values, grid = held.values, grid_of(held)
    check_level(values, level)
    box = bounding_box(without_dust(values > level, dust))
    if box is None:
        raise MapError("the map has no surface at this contour level", got=f"level {level:.6g}")
    around = box.grown(_RIM).clipped(grid.shape)
    density, grid = _refined(values[around.slices], grid.part(around))
    return Scene(*_closed(density, grid, level, dust), level, Sampler(in_memory(resolution, most_voxels)))


def _closed(density: Array, grid: Grid, level: float, dust: float) -> tuple[Array, Grid]:
    """Return the density without dust, and with a rim below the level, that closes what the box cuts."""
    above = density > level
    below = np.float32(min(float(density.min()), level))
    padded = np.pad(np.where(above & ~without_dust(above, dust), below, density), 1, constant_values=below)
    return padded, Grid(padded.shape, grid.voxel_size, grid.to_angstrom((-1, -1, -1)))


def render(scene: Scene, view: str, palette: Palette, pixels: int = PIXELS) -> Picture:
    """Draw the molecule as it is seen from one side, without perspective.

    Parameters
    ----------
    scene : Scene
    view : str
        One of ``VIEWS``.
    palette : Palette
    pixels : int
        Along the longest edge of the molecule, from any side.

    Returns
    -------
    Picture
    """
    axes = VIEWS[view]
    pixel_size = max(scene.grid.extent) / pixels
    looked = _Looked(scene, axes, pixel_size / _SUPERSAMPLED)
    depth = looked.depth()
    hit = np.isfinite(depth)
    rgb = np.ones((*depth.shape, 3), dtype=np.float32)
    rows, columns = np.nonzero(hit)
    place = looked.place(rows, columns, depth[hit])
    colours = palette(scene.sampler(looked.to_angstrom(place)))
    shade, gloss = lit(looked.normals(place))
    shade *= open_sky(depth, looked.pixel_size)[hit]
    bright = np.clip(colours * shade[:, None] + gloss[:, None], 0, 1)
    rgb[hit] = bright + (1 - bright) * fog(depth[hit])[:, None]
    return Picture(view, reduced(rgb, hit, _SUPERSAMPLED), pixel_size)


class _Looked:
    """A scene turned so that its density is (row, column, away from the viewer).

    Along a ray at a fixed row and column density is linear from voxel to voxel (trilinear interpolation), so that the
    first crossing of the level is found exactly; cells with no corner above the level are leapt over.
    """

    def __init__(self, scene: Scene, axes: tuple[tuple[int, int], ...], pixel_size: float) -> None:
        (self._right, right), (self._up, up), (self._near, near) = axes
        self._scene, self.pixel_size = scene, pixel_size
        turned = scene.density.transpose(self._up, self._right, self._near)
        # Rows go down, columns to the right, depth away.
        self._signs = (-up, right, -near)
        self._density = np.ascontiguousarray(turned[tuple(slice(None, None, sign) for sign in self._signs)])
        self._order = (self._up, self._right, self._near)
        self._steps = [scene.grid.voxel_size[axis] for axis in self._order]
        self._at = [
            np.minimum(
                np.arange(max(_SUPERSAMPLED, (n - 1) * step // pixel_size)) * pixel_size / step, n - 1.001
            ).astype(np.float32)
            for n, step in zip(self._density.shape[:2], self._steps[:2], strict=True)
        ]

    def depth(self) -> Array:
        """Return (rows, columns) float32: Å from the front of the box to the surface, NaN where there is none."""
        leap = self._next_cells()
        rows, columns = (at.astype(np.intp) for at in self._at)
        found = np.full((len(rows), len(columns)), np.nan, dtype=np.float32)
        row, column = (
            index.ravel() for index in np.meshgrid(np.arange(len(rows)), np.arange(len(columns)), indexing="ij")
        )
        cell = leap[rows[row], columns[column], 0]
        last = leap.shape[2]
        while True:
            going = cell < last
            row, column, cell = row[going], column[going], cell[going]
            if not row.size:
                return found * np.float32(self._steps[2])
            front, back = (self._between(row, column, cell + k) for k in (0, 1))
            crossed = back > self._scene.level
            part = (self._scene.level - front[crossed]) / np.maximum(back[crossed] - front[crossed], 1e-30)
            found[row[crossed], column[crossed]] = cell[crossed] + np.clip(part, 0, 1)
            row, column, cell = row[~crossed], column[~crossed], cell[~crossed] + 1
            ahead = np.minimum(cell, last - 1)
            following = leap[rows[row], columns[column], ahead]
            cell = np.where(cell < last, following, last)

    def _next_cells(self) -> Array:
        """Return for every cell the next one, away from the viewer, with a corner above the level."""
        cells = self._density > self._scene.level
        for axis in range(3):
            first, second = (
                tuple(s if k == axis else slice(None) for k in range(3)) for s in (slice(-1), slice(1, None))
            )
            cells = cells[first] | cells[second]
        count = cells.shape[2]
        numbers = np.where(cells, np.arange(count, dtype=np.int16), np.int16(count))
        return np.minimum.accumulate(numbers[..., ::-1], axis=2)[..., ::-1]

    def _between(self, row: Array, column: Array, plane: Array) -> Array:
        """Return the density on whole planes, linear between rows and columns."""
        r, c = self._at[0][row], self._at[1][column]
        i, j = r.astype(np.intp), c.astype(np.intp)
        v, u = r - i, c - j
        d = self._density
        upper = d[i, j, plane] * (1 - u) + d[i, j + 1, plane] * u
        lower = d[i + 1, j, plane] * (1 - u) + d[i + 1, j + 1, plane] * u
        return np.asarray(upper * (1 - v) + lower * v)

    def place(self, rows: Array, columns: Array, depth: Array) -> Array:
        """Return (3, n) fractional indices into the turned density."""
        return np.stack([self._at[0][rows], self._at[1][columns], depth / np.float32(self._steps[2])])

    def to_angstrom(self, place: Array) -> Array:
        """Return (n, 3) z, y, x in Å."""
        grid, answer = self._scene.grid, np.empty((place.shape[1], 3), dtype=np.float32)
        for index, axis, sign in zip(place, self._order, self._signs, strict=True):
            index = index if sign > 0 else grid.shape[axis] - 1 - index
            answer[:, axis] = grid.origin[axis] + grid.voxel_size[axis] * index
        return answer

    def normals(self, place: Array) -> Array:
        """Return (n, 3): right, up, towards the viewer, of length 1, towards the lower density."""
        slopes = []
        for axis, step in enumerate(self._steps):
            offset = np.zeros((3, 1), dtype=np.float32)
            offset[axis] = 1
            after, before = (
                ndimage.map_coordinates(self._density, place + k * offset, order=1, mode="nearest") for k in (1, -1)
            )
            slopes.append((after - before) / step)
        down, right, away = slopes
        outward = np.stack([-right, down, away], axis=-1)
        length = np.linalg.norm(outward, axis=1, keepdims=True)
        return np.asarray(outward / np.where(length > 0, length, 1))


def _refined(density: Array, grid: Grid) -> tuple[Array, Grid]:
    """Interpolate a small map by cubic splines, one matrix an axis."""
    factor = min(6, _FINE // max(density.shape))
    if factor < 2:
        return density, grid
    finer = [(n - 1) * factor + 1 for n in density.shape]
    z, y, x = (
        ndimage.zoom(np.eye(n, dtype=np.float32), (m / n, 1), order=3)
        for n, m in zip(density.shape, finer, strict=True)
    )
    dz, dy, dx = (size / factor for size in grid.voxel_size)
    refined = np.asarray(apply_matrices(density, (z, y, x)), dtype=np.float32)
    return refined, Grid((finer[0], finer[1], finer[2]), (dz, dy, dx), grid.origin)
