"""One picture of a local resolution: the coloured surface from three sides over three slices and the histogram."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.view.figure import draw_scale_bar, save_png
from emres.view.palette import PALETTE, Palette, palette_for
from emres.view.render import CAPTIONS, VIEWS, Picture, make_scene, render
from emres.view.slices import draw_slices, figure_width, make_slices

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure, SubFigure

_ROW = 3.7  # inches
_TITLE = 0.3


def overview_picture(
    volume: xr.DataArray,
    resolution: xr.DataArray,
    level: float,
    path: Path | str,
    *,
    title: str | None = None,
    palette: str = PALETTE,
    overview: tuple[xr.DataArray, xr.DataArray] | None = None,
    reported: float | None = None,
) -> Path:
    """Draw the coloured surface from three sides, three slices and the histogram of a local resolution.

    Parameters
    ----------
    volume : Volume
        (z, y, x) density.
    resolution : Volume
        (z, y, x) Å on the same grid; 0 outside the mask.
    level : float
        Density at which the surface lies, of the sampling that is shown (``overview``).
    path : path
        The PNG to write; one that is there is replaced.
    title : str, optional
    palette : str
        See :func:`emres.view.palette.palette_for`.
    overview : (Volume, Volume), optional
        Density and resolution at a coarser sampling, for surface, mask and histogram of a map too big to be read.
    reported : float, optional
        The resolution reported for the whole map, Å.

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If the two lie on different grids, or there is no such palette.
    MapError
        If no voxel is resolved, or the map never crosses the level.
    """
    from matplotlib.figure import Figure

    density, coarse = overview or (volume, resolution)
    slices = make_slices(volume, resolution, coarse)
    reported = resolution.attrs.get("reported_resolution") if reported is None else reported
    colours = palette_for(slices.resolved, palette, reported)
    scene = make_scene(density, level, coarse)
    pictures = [render(scene, view, colours) for view in VIEWS]
    width = max(figure_width(slices), 9.0)
    figure = Figure(figsize=(width, 2 * _ROW + _TITLE * bool(title)), layout="constrained", dpi=150)
    rows: Any = figure.subfigures(2, 1)
    draw_surface(rows[0], pictures, colours)
    draw_slices(rows[1], slices, colours, reported)
    if title:
        figure.suptitle(title, fontsize=11)
    return save_png(figure, Path(path))


def draw_surface(figure: Figure | SubFigure, pictures: list[Picture], palette: Palette) -> None:
    """Draw views of the surface side by side at one scale, with a scale bar and the colour bar."""
    from matplotlib.cm import ScalarMappable

    tallest = max(picture.extent[0] for picture in pictures)
    widest = [max(picture.extent[1], 0.35 * tallest) for picture in pictures]
    panels: Any = figure.subplots(1, len(pictures), width_ratios=widest, squeeze=False)[0]
    for axes, picture in zip(panels, pictures, strict=True):
        height, width = picture.extent
        axes.imshow(np.clip(picture.rgba, 0, 1), extent=(0, width, 0, height), interpolation="antialiased")
        axes.set_ylim((height - tallest) / 2, (height + tallest) / 2)
        axes.set_title(f"{picture.name}, {CAPTIONS[picture.name]}", fontsize=9)
        axes.set_axis_off()
    draw_scale_bar(panels[0], max(*widest, tallest))
    bar = figure.colorbar(ScalarMappable(palette.scale, palette.colormap), ax=list(panels), fraction=0.03, pad=0.02)
    bar.set_label("local resolution (Å)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
