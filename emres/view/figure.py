"""What every picture shares: it appears whole or not at all, and tells its scale."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def save_png(figure: Figure, path: Path) -> Path:
    """Write a figure beside its place, then move it there; return the path.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        figure.savefig(part, format="png")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def plain_axes(*several: Axes) -> None:
    """Give axes small numbers, and no frame where there is no scale."""
    for axes in several:
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)


def draw_scale_bar(axes: Axes, longest: float) -> None:
    """Draw a bar of a round number of Å, about a quarter of the picture."""
    decade = 10 ** math.floor(math.log10(longest / 4))
    length = max(step * decade for step in (1, 2, 5) if step * decade <= longest / 4)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    width, height = right - left, top - bottom
    left, bottom = left + 0.05 * width, bottom + 0.05 * height
    axes.plot([left, left + length], [bottom, bottom], color="black", linewidth=3, solid_capstyle="butt", clip_on=True)
    axes.text(left, bottom + 0.02 * height, f"{length:g} Å", color="black", fontsize=9, va="bottom")
