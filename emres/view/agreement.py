"""How well predictions agree with targets: a scatter, residuals, an uncertainty against the errors, real maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emres.errors import UsageError
from emres.view.figure import plain_axes, save_png

Array = np.ndarray[Any, Any]

_SEEN = 0.9985  # share of the voxels that the axes are to hold
_LEAST = 2e-4  # share of the voxels that a bin of targets needs for its residual to be drawn
_QUARTILES = (0.25, 0.5, 0.75)


def agreement_picture(
    cells: Sequence[Sequence[float]], step: float, path: Path | str, *, title: str | None = None
) -> Path:
    """Draw predictions against targets, and the residuals over the targets.

    Parameters
    ----------
    cells : sequence of (bin of the target, bin of the prediction, weight)
        Of a histogram.
    step : float
        Width of its bins, Å.
    path : path
        The PNG to write; one that is there is replaced.
    title : str, optional

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If there is nothing to draw.
    """
    if not cells:
        raise UsageError("there is no agreement to draw", got="an empty histogram")
    from matplotlib.figure import Figure

    counts = _dense(cells)
    low, high = _limits(counts, step)
    figure = Figure(figsize=(9.6, 4.4), layout="constrained", dpi=150)
    left, right = figure.subplots(1, 2)
    _scatter(left, counts, step, low, high)
    _residuals(right, counts, step, low, high)
    if title:
        figure.suptitle(title, fontsize=11)
    return _saved(figure, (left, right), path)


def _dense(cells: Sequence[Sequence[float]]) -> Array:
    side = int(max(max(row, column) for row, column, _ in cells)) + 1
    counts = np.zeros((side, side))
    for row, column, weight in cells:
        counts[int(row), int(column)] = weight
    return np.asarray(counts / counts.sum())


def _limits(counts: Array, step: float) -> tuple[float, float]:
    """Return the Å between which nearly all targets and predictions lie."""
    share = (counts.sum(axis=0) + counts.sum(axis=1)) / 2
    reached = np.cumsum(share)
    first = int(np.searchsorted(reached, 1 - _SEEN))
    last = int(np.searchsorted(reached, _SEEN))
    return max(0.0, (first - 1) * step), (last + 2) * step


def _scatter(axes: Any, counts: Array, step: float, low: float, high: float) -> None:
    from matplotlib.colors import LogNorm

    edges = np.arange(len(counts) + 1) * step
    shown = np.ma.masked_less_equal(100 * counts.T, 0)
    image = axes.pcolormesh(edges, edges, shown, norm=LogNorm(vmin=max(shown.max() * 1e-4, 1e-6)), cmap="viridis")
    bar = axes.figure.colorbar(image, ax=axes)
    bar.set_label("% of voxels, each map alike", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    axes.plot([low, high], [low, high], color="black", linewidth=0.8)
    axes.set(xlim=(low, high), ylim=(low, high), xlabel="target (Å)", ylabel="prediction (Å)", aspect="equal")


def _residuals(axes: Any, counts: Array, step: float, low: float, high: float) -> None:
    """Draw the quartiles of prediction - target in every bin of targets."""
    centres = (np.arange(len(counts)) + 0.5) * step
    kept = counts.sum(axis=1) > _LEAST
    lines = np.array([_quantiles(row, step) for row in counts[kept]]).reshape(-1, len(_QUARTILES)).T
    residual = lines - centres[kept]
    axes.fill_between(centres[kept], residual[0], residual[2], color="#2c7bb6", alpha=0.3, label="half of the voxels")
    axes.plot(centres[kept], residual[1], color="#2c7bb6", label="median")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xlim=(low, high), xlabel="target (Å)", ylabel="prediction - target (Å)")
    axes.legend(fontsize=8, frameon=False)


def _quantiles(row: Array, step: float) -> list[float]:
    below = np.concatenate([[0.0], np.cumsum(row)]) / row.sum()
    return [float(np.interp(share, below, np.arange(len(row) + 1) * step)) for share in _QUARTILES]


def calibration_picture(found: Mapping[str, Any], path: Path | str, *, title: str | None = None) -> Path:
    """Draw, by tenth of the voxels from the surest on, the uncertainty against the error that 68 % stay below.

    Parameters
    ----------
    found : mapping
        ``sigma``, ``error`` (Å) and ``share`` by tenth, ``within`` of all.
    path : path
    title : str, optional

    Returns
    -------
    Path
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.8), layout="constrained", dpi=150)
    left, right = figure.subplots(1, 2)
    most = 1.1 * max(*found["sigma"], *found["error"])
    left.plot([0, most], [0, most], color="black", linewidth=0.8)
    left.plot(found["sigma"], found["error"], marker="o", color="#2c7bb6", linewidth=1.2)
    left.set(xlim=(0, most), ylim=(0, most), xlabel="predicted sigma (Å)", ylabel="error that 68 % stay below (Å)")
    tenths = np.arange(1, len(found["share"]) + 1)
    right.bar(tenths, found["share"], color="#2c7bb6")
    right.axhspan(0.60, 0.76, color="0.8", zorder=0)
    right.set(ylim=(0, 1), xlabel="tenth of the voxels, surest first", ylabel="share within one sigma")
    right.set_title(f"all: {found['within']:.2f}", fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11)
    return _saved(figure, (left, right), path)


def real_maps_picture(
    maps: Sequence[Mapping[str, Any]], factor: float, path: Path | str, *, title: str | None = None
) -> Path:
    """Draw the predicted median of real maps against their reported resolution.

    Parameters
    ----------
    maps : sequence of mapping
        ``reported`` (Å), ``medians`` (name of the prediction -> Å) and ``emdb_id``.
    factor : float
        Local over global resolution, drawn as a line.
    path : path
    title : str, optional

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        If there is no map.
    """
    if not maps:
        raise UsageError("there is no real map to draw")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 5.0), layout="constrained", dpi=150)
    axes = figure.subplots()
    reported = np.array([one["reported"] for one in maps])
    for name, colour, marker in zip(maps[0]["medians"], ("#b2182b", "#2c7bb6"), "os", strict=False):
        axes.scatter(reported, [one["medians"][name] for one in maps], color=colour, marker=marker, s=18, label=name)
    for one in maps:
        axes.annotate(one["emdb_id"] or one["file"], (one["reported"], next(iter(one["medians"].values()))),
                      xytext=(4, 3), textcoords="offset points", fontsize=6, color="0.4")  # fmt: skip
    ends = np.array([0.9 * reported.min(), 1.1 * reported.max()])
    axes.plot(ends, factor * ends, color="black", linewidth=0.8, label=f"{factor:.2f} x reported")
    axes.set(xscale="log", yscale="log", xlabel="reported resolution (Å)", ylabel="median predicted (Å)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
    axes.legend(fontsize=8, frameon=False)
    if title:
        axes.set_title(title, fontsize=11)
    return _saved(figure, (axes,), path)


def _saved(figure: Any, several: Sequence[Any], path: Path | str) -> Path:
    for axes in several:
        plain_axes(axes)
        axes.tick_params(which="minor", labelsize=8)
        axes.xaxis.label.set_size(9)
        axes.yaxis.label.set_size(9)
    return save_png(figure, Path(path))
