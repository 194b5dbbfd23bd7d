"""From a user's word for a mask (auto, contour, none, a file) to a mask on the grid of the map, slab by slab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.mrc import open_map
from emres.archive.store import CHUNK
from emres.errors import MapError, UsageError
from emres.volume.blocks import Box
from emres.volume.grid import Grid, as_shape, grid_of
from emres.volume.masking import automatic_mask, block_any, grown, without_dust
from emres.volume.padding import padding_of
from emres.volume.pyramid import Pyramid
from emres.volume.resample import carry, resampling_matrices

if TYPE_CHECKING:
    import xarray as xr

Array = np.ndarray[Any, Any]

MASKS = ("auto", "contour", "none")

_FINEST = 1.5  # Å: the shape of a molecule needs no finer voxels than this


def mask_slabs(source: Pyramid, mask: str, contour_level: float | None = None) -> Iterator[tuple[Box, Array]]:
    """Yield the mask of a map in boxes that cover its grid once.

    Parameters
    ----------
    source : Pyramid
        The map that the mask is for.
    mask : str
        ``auto``, ``contour`` (the author's level), ``none``, or the path of a mask file (0-1; inside above 0.5).
    contour_level : float, optional
        The author's density level.

    Yields
    ------
    Box, bool array of its shape

    Raises
    ------
    UsageError
        ``contour`` without a known level.
    MapError
        A mask file on another grid, an empty mask, a map without a molecule.
    """
    grid = source.grid()
    if mask == "none":
        yield from ((box, np.ones(box.shape, dtype=bool)) for box in slabs(grid))
    elif mask == "auto":
        level = mask_level(source)
        yield from _carried(_found(source, level), source.grid(level), grid)
    elif mask == "contour":
        level = mask_level(source)
        yield from _carried(_above(source, contour_level, level), source.grid(level), grid)
    else:
        yield from _from_file(Path(mask), grid)


def whole_mask(source: Pyramid, mask: str | xr.DataArray, contour_level: float | None) -> Array:
    """Return the mask of a map in one piece.

    Parameters
    ----------
    source : Pyramid
        The map that the mask is for.
    mask : str or DataArray
        A word or file of :func:`mask_slabs`, or a volume (inside above 0.5).
    contour_level : float, optional

    Returns
    -------
    (z, y, x) bool

    Raises
    ------
    UsageError, MapError
        If it cannot be had, or holds no voxel.
    """
    grid = source.grid()
    inside = np.zeros(grid.shape, dtype=bool)
    if isinstance(mask, str):
        for box, values in mask_slabs(source, mask, contour_level):
            inside[box.slices] = values
    elif grid_of(mask).matches(grid):
        inside[...] = mask.values > 0.5
    else:
        raise UsageError("the mask lies on another grid than the map", got=f"{mask.shape}", expected=f"{grid.shape}")
    if not inside.any():
        raise MapError("the mask holds no voxel", cure="use another mask, or a lower contour level")
    return inside


def slabs(grid: Grid, axis: int = 0, thickness: int = CHUNK) -> Iterator[Box]:
    """Yield the slabs of a grid along an axis, each whole along the two others."""
    for start in range(0, grid.shape[axis], thickness):
        first, last = [0, 0, 0], list(grid.shape)
        first[axis], last[axis] = start, min(start + thickness, grid.shape[axis])
        yield Box((first[0], first[1], first[2]), (last[0], last[1], last[2]))


def mask_level(source: Pyramid) -> int:
    """Return the level of a pyramid on which the mask is found: the first above 1.5 Å, or the last."""
    levels = range(source.levels)
    return next((level for level in levels if source.grid(level).mean_voxel_size > _FINEST), levels[-1])


def _found(source: Pyramid, level: int) -> Array:
    """Return the mask that is found on a level of a map."""
    values, padding = np.asarray(source.array(level)[...]), padding_of(source)
    held = Box((0, 0, 0), source.grid().shape) if padding is None or padding.masked else padding.held
    # Voxels at the faces may be means of fewer voxels, or of some that a box was padded with: of other noise.
    whole, touched = _coarser(held, 2**level)
    inside = automatic_mask(values[whole.slices], source.grid(level).voxel_size)
    beyond = zip(whole.start, whole.stop, touched.start, touched.stop, strict=True)
    found = np.zeros(values.shape, dtype=bool)
    found[touched.slices] = np.pad(inside, [(a - first, last - b) for a, b, first, last in beyond], mode="edge")
    return found


def _coarser(box: Box, factor: int) -> tuple[Box, Box]:
    """Return which larger voxels lie in a box, or else those that it touches; and those that it touches."""
    first, last = ([-(-a // factor) for a in box.start], [b // factor for b in box.stop])
    touched = Box(as_shape(a // factor for a in box.start), as_shape(-(-b // factor) for b in box.stop))
    whole = all(a < b for a, b in zip(first, last, strict=True))
    return (Box(as_shape(first), as_shape(last)) if whole else touched), touched


def _above(source: Pyramid, contour_level: float | None, level: int) -> Array:
    """Return where any voxel reaches the contour level, without dust, grown so that the surface lies inside."""
    if contour_level is None:
        raise UsageError("the map has no recommended contour level", cure="use --mask auto, none or a mask file")
    density, factor = source.array(), 2**level
    parts = [block_any(np.asarray(density[box.slices]) >= contour_level, factor) for box in slabs(source.grid())]
    inside = np.concatenate(parts, axis=0)
    if not inside.any():
        raise MapError(
            "the map never reaches its contour level", got=f"level {contour_level:g}", cure="use --mask auto or none"
        )
    return grown(without_dust(inside))


def _carried(coarse: Array, coarse_grid: Grid, grid: Grid) -> Iterator[tuple[Box, Array]]:
    matrices = resampling_matrices(coarse_grid, grid, "linear")
    values = coarse.astype(np.float32)
    for box in slabs(grid):
        yield box, carry(values, matrices, box) > 0.5


def _from_file(path: Path, grid: Grid) -> Iterator[tuple[Box, Array]]:
    with open_map(path) as reader:
        if not reader.grid.matches(grid):
            raise MapError(
                f"{path} lies on another grid than the map",
                got=described(reader.grid),
                expected=described(grid),
                cure="resample the mask to the map, or use --mask auto",
            )
        for axis, start, values in reader.slabs(CHUNK):
            first = [0, 0, 0]
            first[axis] = start
            corner = (first[0], first[1], first[2])
            yield Box((0, 0, 0), values.shape).moved(corner), values > 0.5


def described(grid: Grid) -> str:
    """Return a grid in words, for an error that is about two of them."""
    sizes, origin = (" ".join(f"{value:.4g}" for value in triple) for triple in (grid.voxel_size, grid.origin))
    return f"{'x'.join(map(str, grid.shape))} voxels of {sizes} Å at {origin} Å"
