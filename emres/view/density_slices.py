"""Three slices through the middle of a map, in gray, and how its densities are distributed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from emres.view.figure import draw_scale_bar, plain_axes
from emres.volume.grid import DIMS, grid_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GREY = (1, 99.7)  # percentiles of the density drawn white and black


def draw_density_slices(figure: Figure, volume: xr.DataArray, overview: xr.DataArray, height: float) -> float:
    """Draw a map without a local resolution.

    Parameters
    ----------
    figure : Figure
    volume : Volume
        (z, y, x) density, of which three slices are read.
    overview : Volume
        The same at a coarser sampling, for limits and histogram.
    height : float
        Of the figure, inches.

    Returns
    -------
    float
        The width that suits the figure, inches.
    """
    values = np.asarray(overview.values, dtype=np.float32)
    values = values[np.isfinite(values)]
    low, high = (float(value) for value in np.percentile(values, _GREY)) if values.size else (0.0, 1.0)
    extent = dict(zip(DIMS, grid_of(volume).extent, strict=True))
    across = [extent["x"], extent["x"], extent["y"]]
    tallest = max(extent["y"], extent["z"])
    shares = [max(width / tallest, 0.35) for width in across]
    panels: Any = figure.subplots(1, 4, width_ratios=[*shares, 0.95])
    for axes, normal in zip(panels, DIMS, strict=False):
        _draw_slice(axes, volume, normal, extent, (low, high if high > low else low + 1))
    draw_scale_bar(panels[0], max(extent.values()))
    _draw_histogram(panels[3], values, volume.attrs.get("contour_level"))
    return height * (0.88 * sum(shares) + 1.15)


def _draw_slice(
    axes: Axes, volume: xr.DataArray, normal: str, extent: dict[str, float], limits: tuple[float, float]
) -> None:
    index = volume.sizes[normal] // 2
    down, across = (dim for dim in DIMS if dim != normal)
    picture = np.asarray(volume.isel({normal: index}).values, dtype=np.float32)
    where = (0, extent[across], 0, extent[down])
    axes.imshow(picture, cmap="gray_r", vmin=limits[0], vmax=limits[1], extent=where, origin="lower")
    axes.set_title(f"{normal} = {float(volume.coords[normal].values[index]):.0f} Å", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(down, fontsize=9)


def _draw_histogram(axes: Axes, values: np.ndarray[Any, Any], contour_level: float | None) -> None:
    axes.hist(values, bins=80, color="0.4", log=True)
    axes.set_xlabel("density", fontsize=9)
    axes.set_ylabel("voxels", fontsize=9)
    plain_axes(axes)
    if contour_level is not None:
        axes.axvline(contour_level, color="black", linewidth=1.2, label=f"contour level {contour_level:g}")
        axes.legend(fontsize=8, frameon=False)
