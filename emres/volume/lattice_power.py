"""The power of small windows on a lattice, as :mod:`emres.volume.window_power` has it: as products of matrices.

A window's transform is taken axis by axis, so what windows share is computed once: along x for all that lie in a row,
along y for all in a plane. The transform is a real one, of cosines and sines about the middle of a window: summed over
the signs of a frequency, its squares are those of the complex one. On a processor, products of small matrices take less
time than so many small Fourier transforms: local levels of a box of 160^3 take 1.1 s in place of 1.8.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from emres.volume.blocks import Box
from emres.volume.boxes import bounding_box
from emres.volume.grid import Shape, as_shape
from emres.volume.window_power import SHELL_WIDTH, taper

Array = np.ndarray[Any, Any]
Read = Callable[[Box], Array]
# A ``map`` whose jobs may run at the same time.
Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]

_BEYOND = 2.0  # coefficients from a shell on which none tells: five sigma
_BRICK = (256, 128, 1024)  # windows along the sides of a brick, times the width of a window: memory


def lattice_power(
    read: Read, near: Array, start: Shape, step: int, width: int, shells: tuple[float, ...], each: Each = map
) -> Array:
    """Return the mean power of the windows round the places of a lattice, shell by shell.

    Parameters
    ----------
    read : callable
        Returns a box of the density; boxes may reach beyond the faces, where it is 0.
    near : (z, y, x) bool
        Which of the places are asked for; of others the power may be there, or 0.
    start : (z, y, x)
        Voxel of the first place.
    step : int
        Voxels from one to the next.
    width : int
        Of the windows, voxels; even.
    shells : tuple of float
        Their frequencies, 1/voxel, at most 0.5, from low to high.
    each : callable
        What maps the work over bricks of places: products this small are not shared by threads, but taken side by side.

    Returns
    -------
    (shells, z, y, x) float32
    """
    powers, wanted = np.zeros((len(shells), *near.shape), dtype=np.float32), _shells(width, shells)

    def fill(brick: Box) -> None:
        first = [a + step * i - width // 2 for a, i in zip(start, brick.start, strict=True)]
        stop = [a + step * (n - 1) + width for a, n in zip(first, brick.shape, strict=True)]
        held = torch.from_numpy(np.ascontiguousarray(read(Box(as_shape(first), as_shape(stop))), dtype=np.float32))
        powers[(slice(None), *brick.slices)] = _brick_powers(held, brick.shape, step, wanted)

    list(each(fill, bricks(near, as_shape(max(1, side // width) for side in _BRICK))))
    return powers


@dataclass(frozen=True)
class _Row:
    """Coefficients of one frequency along y, of either sign.

    Parameters
    ----------
    places : tuple of int
        Of its cosine and sine.
    functions : int
        How many along z and along x are near enough to a shell.
    first : int
        Shell that is the lowest it has a share in.
    weights : (shells from the first on, functions * functions) float32
    """

    places: tuple[int, ...]
    functions: int
    first: int
    weights: torch.Tensor


@dataclass(frozen=True)
class _Shells:
    """The transform of a window along one axis, and how squares of coefficients are summed to powers.

    Parameters
    ----------
    count : int
        Of shells.
    functions : (functions, width) float32
        Tapered cosines and sines, from low frequency to high.
    rows : list of _Row
    """

    count: int
    functions: torch.Tensor
    rows: list[_Row]


@lru_cache(maxsize=4)
def _shells(width: int, frequencies: tuple[float, ...]) -> _Shells:
    wanted = np.array(frequencies) * width
    order = np.arange(width // 2 + 1)
    last = min(width // 2, int(wanted[-1] + _BEYOND))
    # Of either sign: once the constant and the highest, which a cosine about the middle of a window does not see.
    times = np.where((order == 0) | (order == width // 2), 1.0, 2.0)
    radius = np.sqrt(order[:, None, None] ** 2 + order[:, None] ** 2 + order**2)
    weights = np.exp(-0.5 * np.square((radius - wanted[:, None, None, None]) / SHELL_WIDTH))
    weights *= times[:, None, None] * times[:, None] * times
    weights /= weights.sum(axis=(1, 2, 3), keepdims=True) * np.square(taper(width)).sum() ** 3
    rows = []
    for k in range(last + 1):
        reached = min(last, int(np.sqrt((wanted[-1] + _BEYOND) ** 2 - k**2)))
        functions, first = _before(reached + 1, width), int(np.searchsorted(wanted, k - _BEYOND))
        of = (np.arange(functions) + 1) // 2
        part = weights[first:, of][:, :, k][:, :, of].reshape(len(wanted) - first, -1)
        places = tuple(range(_before(k, width), _before(k + 1, width)))
        rows.append(_Row(places, functions, first, torch.from_numpy(part.astype(np.float32))))
    return _Shells(len(wanted), torch.from_numpy(_functions(width)[: _before(last + 1, width)]), rows)


def _before(frequency: int, width: int) -> int:
    """Return how many cosines and sines are of lower frequencies: one of 0, two of each, one of the highest."""
    return min(max(2 * frequency - 1, 0), width)


def _functions(width: int) -> Array:
    angle = 2 * np.pi * (np.arange(width) - (width - 1) / 2) / width
    pairs = [(np.cos(k * angle), np.sin(k * angle)) for k in range(width // 2 + 1)]
    kept = [pairs[0][0], *itertools.chain(*pairs[1:-1]), pairs[-1][1]]
    return np.asarray(np.array(kept) * taper(width), dtype=np.float32)


def bricks(near: Array, sides: Shape) -> Iterator[Box]:
    """Yield boxes of places, of which some are asked for."""
    for corner in itertools.product(*(range(0, n, side) for n, side in zip(near.shape, sides, strict=True))):
        box = Box(as_shape(corner), as_shape(map(sum, zip(corner, sides, strict=True)))).clipped(near.shape)
        found = bounding_box(near[box.slices])
        if found is not None:
            yield found.moved(box.start)


def _brick_powers(held: torch.Tensor, count: Shape, step: int, shells: _Shells) -> Array:
    """Return the power of every window in a brick, (shells, z, y, x)."""
    functions, width = shells.functions, shells.functions.shape[1]
    lines = held.unfold(2, width, step).reshape(-1, width) @ functions.T
    lines = lines.view(*held.shape[:2], count[2], -1).permute(1, 0, 3, 2).contiguous()
    powers = torch.zeros((count[0], count[1], shells.count, count[2]))
    for j in range(count[1]):
        sections = functions @ lines[j * step : j * step + width].view(width, -1)
        sections = sections.view(len(functions), held.shape[0], len(functions), count[2])
        # Row after row: what lies along z, and the weights, then stay in a processor's cache.
        for row, i in itertools.product(shells.rows, range(count[0])):
            within = sections[:, i * step : i * step + width, : row.functions]
            squares = [(functions[: row.functions] @ within[b].reshape(width, -1)).square_() for b in row.places]
            power = squares[0] if len(squares) == 1 else squares[0].add_(squares[1])
            powers[i, j, row.first :].addmm_(row.weights, power.view(row.functions**2, -1))
    return np.asarray(powers.permute(2, 0, 1, 3).numpy())
