"""A few patches: the middle slice of each, density beside target and prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from emres.errors import UsageError
from emres.view.figure import save_png
from emres.view.palette import palette_for

Array = np.ndarray[Any, Any]

_SIDE = 1.5  # inches
_COLUMNS = ("density", "target", "prediction", "prediction − target")
_OFF = 2.0  # Å: the ends of the colours of the difference


def example_picture(
    density: Array, target: Array, prediction: Array, path: Path | str, *, title: str | None = None
) -> Path:
    """Draw patches, one a row.

    Parameters
    ----------
    density : (patch, z, y, x)
    target, prediction : (patch, z, y, x)
        Å; the target 0 where there is none.
    path : path
        The PNG to write; one that is there is replaced.
    title : str, optional

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If the shapes differ, or nowhere is a target.
    """
    if not density.shape == target.shape == prediction.shape or density.ndim != 4 or not (target > 0).any():
        raise UsageError("these are no patches to draw", got=f"{density.shape}, {target.shape}, {prediction.shape}")
    from matplotlib.figure import Figure

    colours = palette_for(np.concatenate([target[target > 0], prediction[target > 0]]))
    figure = Figure(figsize=(_SIDE * 4 + 0.9, _SIDE * len(density) + 0.4), layout="constrained", dpi=120)
    panels: Any = figure.subplots(len(density), 4, squeeze=False)
    for row, cubes in zip(panels, zip(density, target, prediction, strict=True), strict=True):
        plane = int(np.argmax((cubes[1] > 0).sum((1, 2))))
        _draw_row(row, [np.asarray(cube[plane], dtype=np.float32) for cube in cubes], colours)
    for axes, name in zip(panels[0], _COLUMNS, strict=True):
        axes.set_title(name, fontsize=8)
    _draw_bars(figure, panels, colours)
    if title:
        figure.suptitle(title, fontsize=9)
    return save_png(figure, Path(path))


def _draw_row(row: Any, slices: list[Array], colours: Any) -> None:
    density, target, prediction = slices
    low, high = (float(value) for value in np.percentile(density, (1, 99.7)))
    inside = (target > 0)[..., None]
    row[0].imshow(density, cmap="gray_r", vmin=low, vmax=high if high > low else low + 1, origin="lower")
    for axes, values in zip(row[1:3], (target, prediction), strict=True):
        axes.imshow(np.where(inside, colours(np.maximum(values, 1e-3)), 1.0), origin="lower")
    off = np.ma.masked_where(target <= 0, prediction - target)
    row[3].imshow(off, cmap="RdBu_r", vmin=-_OFF, vmax=_OFF, origin="lower")
    for axes in row:
        axes.set_xticks([])
        axes.set_yticks([])


def _draw_bars(figure: Any, panels: Any, colours: Any) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scales = (
        (ScalarMappable(colours.scale, colours.colormap), panels[:, :3], "Å"),
        (ScalarMappable(Normalize(-_OFF, _OFF), "RdBu_r"), panels[:, 3:], "off by, Å"),
    )
    for mappable, beside, label in scales:
        bar = figure.colorbar(mappable, ax=list(beside.ravel()), location="bottom", fraction=0.04, pad=0.02, shrink=0.8)
        bar.set_label(label, fontsize=8)
        bar.ax.tick_params(labelsize=7)
