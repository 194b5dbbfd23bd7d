"""A picture of a local-resolution map: three slices through the molecule, and how its resolution is distributed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.errors import MapError, UsageError
from emres.view.figure import draw_scale_bar, save_png
from emres.view.palette import PALETTE, Palette, palette_for
from emres.volume.boxes import bounding_box
from emres.volume.grid import DIMS, Grid, Shape, Triple, grid_of
from emres.volume.resolved import determined

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Array = np.ndarray[Any, Any]

_MARGIN = 0.06  # of the molecule's longest extent, round it
_PALE = 0.5  # share of white in colours where the density is lowest
_INK = 0.6  # how dark the highest density outside the mask is drawn
_HEIGHT = 3.6  # inches


def slice_picture(
    volume: xr.DataArray,
    resolution: xr.DataArray,
    path: Path | str,
    *,
    title: str | None = None,
    palette: str = PALETTE,
    overview: xr.DataArray | None = None,
    reported: float | None = None,
) -> Path:
    """Draw three orthogonal slices of a map, coloured by its local resolution inside the mask, and its histogram.

    The slices go through the centre of mass of the mask and are cropped to the mask. Of ``volume`` and
    ``resolution`` no more than these slices is read where they are lazy.

    Parameters
    ----------
    volume : Volume
        (z, y, x) density.
    resolution : Volume
        (z, y, x) Å on the same grid; 0 outside the mask.
    path : path
        The PNG to write; one that is there is replaced.
    title : str, optional
    palette : str
        ``rainbow``, ``viridis``, ``cividis`` or another of Matplotlib's (:func:`emres.view.palette.palette_for`).
    overview : Volume, optional
        The resolution at a coarser sampling, for mask and histogram of a map too big to be read.
    reported : float, optional
        The resolution reported for the whole map (Å), drawn as a line; ``reported_resolution`` of the attributes of
        ``resolution`` by default.

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If the two lie on different grids, or there is no such palette.
    MapError
        If no voxel is resolved.
    """
    from matplotlib.figure import Figure

    slices = make_slices(volume, resolution, overview)
    reported = resolution.attrs.get("reported_resolution") if reported is None else reported
    colours = palette_for(slices.resolved, palette, reported)
    figure = Figure(figsize=(figure_width(slices), _HEIGHT), layout="constrained", dpi=150)
    draw_slices(figure, slices, colours, reported)
    if title:
        figure.suptitle(title, fontsize=11)
    return save_png(figure, Path(path))


@dataclass(frozen=True, eq=False)
class Slices:
    """What is drawn of a map: three slices, and every resolution that is determined.

    Parameters
    ----------
    cuts : list
    resolved : (n,) Å
    grid : Grid
        Of the map.
    """

    cuts: list[_Cut]
    resolved: Array
    grid: Grid

    @property
    def longest(self) -> float:
        """The longest edge of any slice, Å."""
        return max(max(cut.extent(self.grid)) for cut in self.cuts)

    @property
    def shares(self) -> list[float]:
        """Widths of the panels: every slice gets the same Å per inch; a thin one still gets room for its title."""
        heights, widths = zip(*(cut.extent(self.grid) for cut in self.cuts), strict=True)
        return [max(width / max(heights), 0.35) for width in widths]


def make_slices(volume: xr.DataArray, resolution: xr.DataArray, overview: xr.DataArray | None = None) -> Slices:
    """Cut a map and its resolution through the centre of the mask; parameters and errors as of `slice_picture`."""
    grid = grid_of(volume)
    if not grid_of(resolution).matches(grid):
        raise UsageError("map and local resolution lie on different grids", got=f"{resolution.shape}, {volume.shape}")
    coarse = resolution if overview is None else overview
    values = np.asarray(coarse.values)
    view = _view(values > 0, grid_of(coarse), grid)
    return Slices(list(_cuts(volume, resolution, view)), values[determined(values)], grid)


def figure_width(slices: Slices, height: float = _HEIGHT) -> float:
    """Return the width of a figure (inches) on which the slices fill their height."""
    return height * (0.88 * sum(slices.shares) + 1.15)


def draw_slices(figure: Figure | SubFigure, slices: Slices, colours: Palette, reported: float | None = None) -> None:
    """Draw three slices side by side, and the histogram with the colour bar."""
    panels: Any = figure.subplots(1, 4, width_ratios=[*slices.shares, 0.95])
    pooled = np.concatenate([cut.density.ravel() for cut in slices.cuts])
    low, high = (float(value) for value in np.percentile(pooled, (1, 99.7)))
    grey = (low, high) if high > low else (low - 1, low + 1)
    for axes, cut in zip(panels, slices.cuts, strict=False):
        _draw_slice(axes, cut, _painted(colours, cut, grey), slices.grid)
    draw_scale_bar(panels[0], slices.longest)
    _draw_histogram(panels[3], colours, slices.resolved, reported)


@dataclass(frozen=True)
class _View:
    """What of a map is shown: the voxel through which the slices go, and from where to where they reach."""

    centre: Shape
    start: Shape
    stop: Shape


@dataclass(frozen=True)
class _Cut:
    """One slice: its normal, the dimensions (down, across), where it lies (Å), density and resolution (Å)."""

    normal: str
    dims: tuple[str, str]
    position: float
    density: Array
    resolution: Array

    def extent(self, grid: Grid) -> tuple[float, float]:
        """Return height and width in Å."""
        down, across = (grid.voxel_size[DIMS.index(dim)] for dim in self.dims)
        return self.density.shape[0] * down, self.density.shape[1] * across


def _painted(colours: Palette, cut: _Cut, grey: tuple[float, float]) -> Array:
    """Return a slice as (down, across, 3): grey outside the mask, inside it coloured and shaded by the density."""
    low, high = grey
    shade = np.clip((cut.density - low) / (high - low), 0, 1)[..., None]
    coloured = 1 - (1 - colours(cut.resolution)) * (1 - _PALE * (1 - shade))
    return np.where(cut.resolution[..., None] > 0, coloured, 1 - _INK * shade)


def _view(mask: Array, coarse: Grid, grid: Grid) -> _View:
    box = bounding_box(mask)
    if box is None:
        raise MapError("the local resolution holds no resolved voxel", cure="predict again with --mask auto or none")
    inside = mask[box.slices]
    middle = [_mean_index(inside, axis) + first for axis, first in enumerate(box.start)]
    margin = _MARGIN * max(n * size for n, size in zip(box.shape, coarse.voxel_size, strict=True))
    first = grid.to_index(_moved(coarse.to_angstrom(_floats(box.start)), -margin))
    last = grid.to_index(_moved(coarse.to_angstrom(_floats(n - 1 for n in box.stop)), margin))
    centre = grid.to_index(coarse.to_angstrom(_floats(middle)))
    limit = [n - 1 for n in grid.shape]
    return _View(_clipped(centre, limit), _clipped(first, limit), _clipped(last, limit, 1))


def _mean_index(mask: Array, axis: int) -> float:
    others = tuple(k for k in range(3) if k != axis)
    return float(np.average(np.arange(mask.shape[axis]), weights=np.count_nonzero(mask, axis=others)))


def _moved(position: Triple, by: float) -> Triple:
    return _floats(value + by for value in position)


def _floats(values: Any) -> Triple:
    z, y, x = (float(value) for value in values)
    return z, y, x


def _clipped(index: Triple, limit: list[int], beyond: int = 0) -> Shape:
    z, y, x = (min(max(round(value), 0), most) + beyond for value, most in zip(index, limit, strict=True))
    return z, y, x


def _cuts(volume: xr.DataArray, resolution: xr.DataArray, view: _View) -> Iterator[_Cut]:
    for axis, normal in enumerate(DIMS):
        where: dict[str, Any] = {
            dim: slice(a, b) for dim, a, b in zip(DIMS, view.start, view.stop, strict=True) if dim != normal
        }
        down, across = where
        where[normal] = view.centre[axis]
        position = float(volume.coords[normal].values[view.centre[axis]])
        parts = (np.asarray(source.isel(where).values, dtype=np.float32) for source in (volume, resolution))
        yield _Cut(normal, (down, across), position, *parts)


def _draw_slice(axes: Axes, cut: _Cut, picture: Array, grid: Grid) -> None:
    height, width = cut.extent(grid)
    axes.imshow(picture, extent=(0, width, 0, height), origin="lower", aspect="equal", interpolation="nearest")
    axes.set_title(f"{cut.normal} = {cut.position:.0f} Å", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(cut.dims[1], fontsize=9)
    axes.set_ylabel(cut.dims[0], fontsize=9)


def _draw_histogram(axes: Axes, colours: Palette, resolved: Array, reported: float | None) -> None:
    """Draw the colour bar with the histogram standing on it, and lines at the median and the reported resolution."""
    from matplotlib.cm import ScalarMappable

    counts, edges = np.histogram(resolved, bins=60, range=(colours.low, colours.high))
    share = 100 * counts / resolved.size
    axes.barh(edges[:-1], share, np.diff(edges), align="edge", color=colours((edges[:-1] + edges[1:]) / 2))
    bar = axes.figure.colorbar(ScalarMappable(colours.scale, colours.colormap), ax=axes, location="left", pad=0.02)
    bar.set_label("local resolution (Å)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    axes.set_ylim(colours.low, colours.high)
    axes.tick_params(labelsize=8, labelleft=False, left=False)
    axes.set_xlabel("% of the mask", fontsize=9)
    lines = [(float(np.median(resolved)), "median", "-")]
    lines += [(reported, "reported", "--")] if reported else []
    for value, name, style in lines:
        axes.axhline(value, color="black", linewidth=1.2, linestyle=style, label=f"{name} {value:.2f} Å")
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
