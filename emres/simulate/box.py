"""The box round a model: in its own coordinates, of sides that are fast to transform."""

from __future__ import annotations

import math

import numpy as np

from emres.errors import UsageError
from emres.simulate.atoms import Atoms
from emres.volume.grid import Grid


def box_round(
    atoms: Atoms,
    voxel_size: float,
    *,
    padding: float = 15.0,
    shape: tuple[int, int, int] | None = None,
    cubic: bool = False,
    odd: bool = False,
) -> Grid:
    """Return the grid of a box round the atoms, in the model's own coordinates: the map lies on the model.

    Parameters
    ----------
    atoms : Atoms
    voxel_size : float
        Å.
    padding : float
        Å between the atoms and each face, at least.
    shape : (z, y, x) voxels, optional
        The box itself; it must hold the atoms, with or without padding.
    cubic, odd : bool
        Sides all as long as the longest; an odd number of voxels along each.

    Returns
    -------
    Grid
        With sides that Fourier transforms are fast at, unless the shape is given.

    Raises
    ------
    UsageError
        If the given box is too small for the model.
    """
    spans = np.ptp(atoms.positions, axis=0)
    sides = list(shape) if shape else [fast_side(math.ceil((s + 2 * padding) / voxel_size), odd=odd) for s in spans]
    if cubic and not shape:
        sides = [max(sides)] * 3
    grid = Grid((sides[0], sides[1], sides[2]), (voxel_size,) * 3)
    z, y, x = atoms.middle - (np.array(grid.shape) - 1) / 2 * voxel_size
    grid = Grid(grid.shape, grid.voxel_size, (float(z), float(y), float(x)))
    check_inside(atoms, grid)
    return grid


def fast_side(least: int, *, odd: bool = False) -> int:
    """Return the first side from ``least`` on that is fast to transform, and even or odd as asked.

    Examples
    --------
    >>> fast_side(122), fast_side(122, odd=True)
    (126, 125)
    """
    side = least
    while side % 2 != int(odd) or _has_large_factor(side):
        side += 1
    return side


def _has_large_factor(number: int) -> bool:
    for factor in (2, 3, 5, 7, 11):
        while number % factor == 0:
            number //= factor
    return number > 1


def check_inside(atoms: Atoms, grid: Grid) -> None:
    """Refuse a box that the atoms do not fit in.

    Raises
    ------
    UsageError
        With the sides of the box and of the model.
    """
    index = (atoms.positions - np.array(grid.origin)) / np.array(grid.voxel_size)
    if (index < -0.5).any() or (index > np.array(grid.shape) - 0.5).any():
        spans = np.ptp(atoms.positions, axis=0)
        raise UsageError(
            "the box is too small for the model",
            got=f"{' x '.join(f'{side:.4g}' for side in grid.extent)} Å (z, y, x)",
            expected=f"more than {' x '.join(f'{span:.4g}' for span in spans)} Å round the model",
            cure="give a larger box or larger voxels, or leave the box out",
        )
