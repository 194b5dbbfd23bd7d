"""What changes a map without changing its molecule, and how far the predicted resolution moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from emres.errors import EmresError, MapError
from emres.run.evaluate_model import Predict
from emres.volume.blocks import Box
from emres.volume.boxes import bounding_box
from emres.volume.density import robust_statistics
from emres.volume.grid import Grid, Triple, as_shape, make_volume
from emres.volume.masking import soft_edge
from emres.volume.resample import apply_matrices, fourier_resample, resampling_matrices

Array = np.ndarray[Any, Any]

# How far the median may move, Å: what says nothing about resolution, and what a depositor may do.
STRICT, LOOSE = 0.05, 0.3
# Stands in the table for the warnings that it has.
UNCHANGED = "as it is"

_PADDING, _MARGIN = 12, 6.0  # voxels; Å
_EDGE = 6.0  # Å of a soft mask
_SHARPENING = 9.0  # resolutions^2 of B factor: amplitudes grow ninefold at the map's resolution (B = -80 Å^2 at 3 Å)
_MOST = 4.0  # no amplitude grows more than exp of this
_SOFT_CUT = 0.06


@dataclass(frozen=True)
class Change:
    """A map that was changed, and how its answer is brought back.

    Parameters
    ----------
    name : str
    wanted : float
        Å that the median may move.
    density : (z, y, x) float32
    grid : Grid
    back : callable
        The answer on the changed map's grid -> on the original's; 0 where there is none.
    """

    name: str
    wanted: float
    density: Array
    grid: Grid
    back: Callable[[Array], Array]


def robustness(
    density: Array,
    grid: Grid,
    resolution: float,
    predict: Predict,
    tell: Callable[[str], None] = lambda name: None,
    reported: float | None = None,
) -> list[dict[str, Any]]:
    """Predict a map and changed versions of it, and compare them where both have an answer.

    Parameters
    ----------
    density : (z, y, x) float32
    grid : Grid
    resolution : float
        Of the whole map, Å: where the low-pass cuts.
    predict : callable
        See :class:`emres.run.evaluate_model.ModelUnderTest`; in the mask that it finds itself.
    tell : callable
        Told the name of every change.
    reported : float, optional
        Å, what the model is told; blind by default.

    Returns
    -------
    list of dict
        ``change``, ``wanted`` (Å), ``shift`` (of the median, Å), ``difference`` (mean, absolute, Å), ``warned``,
        ``failed`` (why, else None). The first is the map as it is.

    Raises
    ------
    EmresError
        If the map itself cannot be predicted.
    """
    before = predict(make_volume(density, grid), reported, "auto")
    inside = before.resolution > 0
    if not inside.any():
        raise MapError("the model answers nowhere")
    still = {"shift": 0.0, "difference": 0.0, "warned": bool(before.warnings), "failed": None}
    found: list[dict[str, Any]] = [{"change": UNCHANGED, "wanted": STRICT, **still}]
    for change in changes(density, grid, inside, resolution):
        tell(change.name)
        record: dict[str, Any] = {"change": change.name, "wanted": change.wanted, "failed": None}
        try:
            after = predict(make_volume(change.density, change.grid), reported, "auto")
            moved = _compared(before.resolution, change.back(after.resolution))
            found.append({**record, **moved, "warned": bool(after.warnings)})
        except Exception as error:  # of whatever kind: it is this change's trouble alone
            why = str(error) if isinstance(error, EmresError) else f"{type(error).__name__}: {error}"
            found.append({**record, "shift": None, "difference": None, "warned": True, "failed": why})
    return found


def _compared(before: Array, after: Array) -> dict[str, float]:
    common = (before > 0) & (after > 0)
    if not common.any():
        raise MapError("the two answers have no voxel in common")
    one, other = before[common].astype(np.float64), after[common].astype(np.float64)
    return {
        "shift": float(np.median(other) - np.median(one)),
        "difference": float(np.abs(other - one).mean()),
    }


def changes(density: Array, grid: Grid, inside: Array, resolution: float) -> Iterator[Change]:
    """Yield the changed versions of a map.

    Parameters
    ----------
    density : (z, y, x) float32
    grid : Grid
    inside : (z, y, x) bool
        Where the molecule is.
    resolution : float
        Å.
    """
    how = robust_statistics(density, inside)
    yield Change("gain 37", STRICT, density * np.float32(37), grid, _same)
    yield Change("offset by 5 sd", STRICT, density + np.float32(5 * how.scale), grid, _same)
    yield _padded(density, grid, how.centre)
    for axes in ((0, 1), (1, 2), (0, 2)):
        yield _turned(density, grid, axes)
    yield _part(density, grid, _molecule(inside, grid), "cropped to the molecule")
    yield _part(density, grid, _half(inside), "cropped to half of it")
    for factor in (0.8, 1.25, 1.6):
        if factor < 1 or resolution > 2.1 * factor * max(grid.voxel_size):
            yield _resampled(density, grid, factor)
    for name, sign in (("sharpened", -1), ("blurred", 1)):
        changed = filtered(density, grid, b_factor=sign * _SHARPENING * resolution**2)
        yield Change(f"{name} ninefold at its resolution", LOOSE, changed, grid, _same)
    above = density - np.float32(how.centre)
    soft = soft_edge(inside, _EDGE / grid.mean_voxel_size)
    yield Change("soft mask", LOOSE, np.asarray(above * soft, dtype=np.float32), grid, _same)
    yield Change("mask without an edge", LOOSE, np.asarray(above * inside, dtype=np.float32), grid, _same)
    yield Change("nothing negative", LOOSE, np.maximum(above, 0), grid, _same)
    yield Change("low-pass at the map's resolution", LOOSE, filtered(density, grid, cut=resolution), grid, _same)
    if resolution > 2.1 * max(grid.voxel_size) and resolution < 0.1 * min(grid.extent):
        yield Change("low-pass at 1.3 times it", LOOSE, filtered(density, grid, cut=1.3 * resolution), grid, _same)


def _same(answer: Array) -> Array:
    return answer


def _padded(density: Array, grid: Grid, value: float) -> Change:
    width = _PADDING
    padded = np.pad(density, width, constant_values=np.float32(value))
    origin = grid.to_angstrom((-width, -width, -width))
    inner = (slice(width, -width),) * 3
    return Change(f"box padded by {width}", STRICT, padded, _grid(padded, grid.voxel_size, origin), lambda a: a[inner])


def _grid(values: Array, voxel_size: Triple, origin: Triple) -> Grid:
    z, y, x = values.shape
    return Grid((z, y, x), voxel_size, origin)


def _turned(density: Array, grid: Grid, axes: tuple[int, int]) -> Change:
    sizes = list(grid.voxel_size)
    sizes[axes[0]], sizes[axes[1]] = sizes[axes[1]], sizes[axes[0]]
    turned = np.ascontiguousarray(np.rot90(density, axes=axes))
    names = "".join("zyx"[axis] for axis in axes)
    return Change(
        f"turned by 90° in {names}", STRICT, turned, _grid(turned, (sizes[0], sizes[1], sizes[2]), (0.0, 0.0, 0.0)),
        lambda answer: np.rot90(answer, -1, axes=axes),
    )  # fmt: skip


def _molecule(inside: Array, grid: Grid) -> Box:
    box = bounding_box(inside)
    assert box is not None  # the caller has seen a voxel
    margin = as_shape(round(_MARGIN / size) for size in grid.voxel_size)
    return box.grown(margin).clipped(grid.shape)


def _half(inside: Array) -> Box:
    """Return the box up to the middle of the molecule along its longest axis."""
    where = np.argwhere(inside)
    axis = int(np.argmax(where.max(axis=0) - where.min(axis=0)))
    middle = int(np.median(where[:, axis])) + 1
    return Box((0, 0, 0), as_shape(middle if k == axis else n for k, n in enumerate(inside.shape)))


def _part(density: Array, grid: Grid, box: Box, name: str) -> Change:
    def back(answer: Array) -> Array:
        whole = np.zeros(density.shape, dtype=np.float32)
        whole[box.slices] = answer
        return whole

    return Change(name, LOOSE, np.ascontiguousarray(density[box.slices]), grid.part(box), back)


def _resampled(density: Array, grid: Grid, factor: float) -> Change:
    z, y, x = (size * factor for size in grid.voxel_size)
    shape = [max(8, round(n / factor)) for n in grid.shape]
    coarse = Grid((shape[0], shape[1], shape[2]), (z, y, x), grid.origin)

    def back(answer: Array) -> Array:
        # Values and where they are: a zero beyond the mask must not be mixed in.
        matrices = resampling_matrices(coarse, grid, "linear")
        there = apply_matrices((answer > 0).astype(np.float32), matrices)
        values = apply_matrices(answer.astype(np.float32), matrices)
        return np.asarray(np.where(there > 0.99, values, 0), dtype=np.float32)

    return Change(f"resampled {factor:g}x", LOOSE, fourier_resample(density, grid, coarse), coarse, back)


def filtered(density: Array, grid: Grid, *, b_factor: float = 0.0, cut: float = 0.0) -> Array:
    """Return a map with a B factor (Å^2; below 0 sharpens) or a soft low-pass (Å).

    Parameters
    ----------
    density : (z, y, x) float32
    grid : Grid
    b_factor, cut : float
        Å^2; Å, 0 for none.
    """
    axes = [np.fft.fftfreq(n, size) for n, size in zip(grid.shape[:2], grid.voxel_size[:2], strict=True)]
    last = np.fft.rfftfreq(grid.shape[2], grid.voxel_size[2])
    square = axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + last[None, None, :] ** 2
    gain = np.exp(np.minimum(-b_factor / 4 * square, _MOST))
    if cut:
        gain *= 0.5 - 0.5 * np.tanh((np.sqrt(square) * cut - 1) / _SOFT_CUT)
    spectrum = np.fft.rfftn(density) * gain
    return np.asarray(np.fft.irfftn(spectrum, s=density.shape, axes=(0, 1, 2)), dtype=np.float32)
