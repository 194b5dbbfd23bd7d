"""How a training goes: its loss step by step, its error on patches it never sees, its learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emres.errors import UsageError
from emres.view.figure import plain_axes, save_png

_POINTS = 400


def learning_picture(
    losses: Sequence[float],
    looks: Sequence[Mapping[str, float]],
    path: Path | str,
    *,
    best: Mapping[str, float] | None = None,
    title: str | None = None,
) -> Path:
    """Draw a training.

    Parameters
    ----------
    losses : sequence of float
        Of every step, from the first on.
    looks : sequence of mapping
        ``step``, ``rate``, and where there are such ``mae`` (Å) and ``validation loss``.
    path : path
        The PNG to write; one that is there is replaced.
    best : mapping, optional
        The look that is marked.
    title : str, optional

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If there is nothing to draw.
    """
    if not (len(losses) and len(looks)):
        raise UsageError("there is nothing to draw", got=f"{len(losses)} steps, {len(looks)} looks")
    from matplotlib.figure import Figure

    judged = [look for look in looks if "mae" in look]
    figure = Figure(figsize=(6.4, 6.0 if judged else 4.2), layout="constrained", dpi=150)
    ratios = [3, 3, 1] if judged else [3, 1]
    panels: Any = figure.subplots(len(ratios), sharex=True, height_ratios=ratios)
    _losses(panels[0], losses, judged)
    if judged:
        _errors(panels[1], judged, best or {})
    _rates(panels[-1], looks)
    panels[-1].set_xlabel("step", fontsize=9)
    plain_axes(*panels)
    if title:
        panels[0].set_title(title, fontsize=11)
    return save_png(figure, Path(path))


def _losses(axes: Any, losses: Sequence[float], judged: Sequence[Mapping[str, float]]) -> None:
    values = np.asarray(losses, dtype=np.float64)
    together = max(1, -(-len(values) // _POINTS))
    parts = np.array_split(values, -(-len(values) // together))
    steps = np.cumsum([len(part) for part in parts])
    axes.plot(steps, [part.mean() for part in parts], color="#2c7bb6", linewidth=1.0, label="training")
    if judged:
        found = [look["validation loss"] for look in judged]
        axes.plot(
            [look["step"] for look in judged], found, color="#d7191c", marker=".", label="validation, averaged net"
        )
    if values.min() > 0:
        axes.set_yscale("log")
    axes.set_ylabel("loss", fontsize=9)
    axes.legend(fontsize=8, frameon=False)


def _errors(axes: Any, judged: Sequence[Mapping[str, float]], best: Mapping[str, float]) -> None:
    axes.plot([look["step"] for look in judged], [look["mae"] for look in judged], color="#d7191c", marker=".")
    if "mae" in best:
        axes.plot([best["step"]], [best["mae"]], "o", color="black", label=f"{best['mae']:.3f} Å at {best['step']:.0f}")
        axes.legend(fontsize=8, frameon=False)
    axes.set_ylabel("mean error in the molecule (Å)", fontsize=9)
    axes.set_ylim(0, 1.1 * max(look["mae"] for look in judged))


def _rates(axes: Any, looks: Sequence[Mapping[str, float]]) -> None:
    axes.plot([look["step"] for look in looks], [look["rate"] for look in looks], color="0.4", linewidth=1.0)
    axes.set_ylabel("rate", fontsize=9)
