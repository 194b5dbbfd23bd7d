"""How the targets of a data set are spread over resolution, side by side of the split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emres.errors import UsageError
from emres.view.figure import plain_axes, save_png

COLOURS = {"train": "#2c7bb6", "validation": "#fdae61", "test": "#b2182b"}


def histogram_picture(
    edges: Sequence[float], voxels: Mapping[str, Sequence[float]], path: Path | str, *, title: str | None = None
) -> Path:
    """Draw how many voxels have which resolution: all of them stacked, and each side as a share of its own.

    Parameters
    ----------
    edges : (bins + 1,) Å
    voxels : mapping of (bins,)
        By side of the split.
    path : path
        The PNG to write; one that is there is replaced.
    title : str, optional

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If a side has not one number a bin, or there is nothing to draw.
    """
    if len(edges) < 2 or any(len(side) != len(edges) - 1 for side in voxels.values()):
        raise UsageError("there is no histogram to draw", got=f"{len(edges)} edges", expected="bins that hold voxels")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 5.2), layout="constrained", dpi=150)
    above, below = figure.subplots(2, sharex=True)
    _stacked(above, np.asarray(edges), voxels)
    _shares(below, np.asarray(edges), voxels)
    below.set_xlabel("local resolution (Å)", fontsize=9)
    if title:
        above.set_title(title, fontsize=11)
    plain_axes(above, below)
    return save_png(figure, Path(path))


def _stacked(axes: Any, edges: Any, voxels: Mapping[str, Sequence[float]]) -> None:
    bottom = np.zeros(len(edges) - 1)
    for split, values in voxels.items():
        axes.bar(edges[:-1], values, np.diff(edges), bottom, align="edge", color=COLOURS.get(split), label=split)
        bottom += values
    axes.set_ylabel("voxels", fontsize=9)
    axes.legend(fontsize=8, frameon=False)


def _shares(axes: Any, edges: Any, voxels: Mapping[str, Sequence[float]]) -> None:
    """Draw what tells whether the sides are alike: their shapes, whatever their sizes."""
    for split, values in voxels.items():
        if total := float(np.sum(values)):
            axes.stairs(100 * np.asarray(values) / total, edges, color=COLOURS.get(split), linewidth=1.4)
    axes.set_ylabel("% of the side's voxels", fontsize=9)
