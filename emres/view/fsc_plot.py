"""A plot of FSC curves: correlation against resolution, with the thresholds and where they are crossed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emres.errors import UsageError
from emres.view.figure import plain_axes, save_png

_STYLES: dict[str, dict[str, Any]] = {
    "unmasked": {"color": "#2c7bb6", "label": "unmasked"},
    "masked": {"color": "#008837", "label": "masked"},
    "randomised": {"color": "#b2182b", "label": "phases randomised, masked", "linestyle": ":"},
    "corrected": {"color": "black", "label": "corrected", "linewidth": 1.8},
}


def fsc_picture(
    frequency: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    path: Path | str,
    *,
    crossings: Mapping[float, float],
    title: str | None = None,
) -> Path:
    """Draw FSC curves.

    Parameters
    ----------
    frequency : (shells,) 1/Å
    curves : mapping of (shells,)
        Some of ``unmasked``, ``masked``, ``randomised``, ``corrected``.
    path : path
        The PNG to write; one that is there is replaced.
    crossings : mapping
        Threshold -> resolution in Å, drawn as lines.
    title : str, optional

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If there is no curve, or one is not as long as ``frequency``.
    """
    if not curves or any(len(curve) != len(frequency) for curve in curves.values()):
        raise UsageError(
            "FSC curves do not fit their frequencies",
            got=", ".join(f"{name} {len(curve)}" for name, curve in curves.items()) or "no curve",
            expected=f"{len(frequency)} shells",
        )
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained", dpi=150)
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot(frequency, curve, **{"linewidth": 1.2, **_STYLES.get(name, {"label": name})})
    for threshold, resolution in crossings.items():
        _mark(axes, threshold, resolution)
    _label(axes, frequency)
    if title:
        axes.set_title(title, fontsize=11)
    return save_png(figure, Path(path))


def _mark(axes: Any, threshold: float, resolution: float) -> None:
    axes.axhline(threshold, color="0.6", linewidth=0.8, linestyle="--")
    axes.plot([1 / resolution] * 2, [0, threshold], color="0.6", linewidth=0.8, linestyle="--")
    axes.annotate(
        f"{threshold:g}: {resolution:.2f} Å",
        (1 / resolution, threshold),
        xytext=(4, 4),
        textcoords="offset points",
        fontsize=8,
    )


def _label(axes: Any, frequency: Sequence[float]) -> None:
    last = float(frequency[-1])
    axes.set_xlim(0, last)
    axes.set_ylim(-0.1, 1.05)
    ticks = np.linspace(0, last, 7)
    axes.set_xticks(ticks, ["∞", *(f"{1 / tick:.1f}" for tick in ticks[1:])])
    axes.set_xlabel("resolution (Å)", fontsize=9)
    axes.set_ylabel("Fourier shell correlation", fontsize=9)
    plain_axes(axes)
    axes.legend(fontsize=8, frameon=False)
