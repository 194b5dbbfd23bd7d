"""Symmetry about an axis along z: copies of a model, and volumes averaged over the turns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.errors import UsageError
from emres.simulate.atoms import Atoms
from emres.simulate.recipe import symmetry_order

if TYPE_CHECKING:
    from scipy import sparse

Array = np.ndarray[Any, Any]

# Neighbouring copies stand this much closer than their boxes would: molecules are round.
_PACKING = 0.8


def copies(atoms: Atoms, symmetry: str) -> tuple[Atoms, Array]:
    """Return the copies of a model round an axis; the first stays where it is.

    Parameters
    ----------
    atoms : Atoms
    symmetry : str
        ``C4``, ``D3``, ...

    Returns
    -------
    atoms : Atoms
        Of all copies, one after the other.
    centre : (z, y, x) Å
        A point on the axis, in the middle of all.
    """
    order, dihedral = symmetry_order(symmetry)
    half = np.ptp(atoms.positions, axis=0) / 2
    away = 0.0 if order == 1 else _PACKING * (half[2] + (half[1] / math.tan(math.pi / order) if order > 2 else 0.0))
    above = _PACKING * half[0] if dihedral else 0.0
    centre = atoms.middle - np.array([above, 0.0, away])
    offset = atoms.positions - centre
    turned = [offset @ _turn(2 * math.pi * k / order).T for k in range(order)]
    if dihedral:
        turned += [part * np.array([-1.0, -1.0, 1.0]) for part in turned]
    count = len(turned)
    every = Atoms(
        np.concatenate(turned) + centre,
        np.tile(atoms.elements, count),
        np.tile(atoms.b_factors, count),
        np.tile(atoms.occupancies, count),
    )
    return every, centre


def _turn(angle: float) -> Array:
    """Return the rotation of (z, y, x) about z."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, c, s], [0, -s, c]])


def symmetrised(volume: Array, symmetry: str) -> Array:
    """Return a volume averaged over its symmetry's turns about the middle of the box.

    Parameters
    ----------
    volume : (z, y, x) float32
    symmetry : str

    Returns
    -------
    (z, y, x) float32
        Linear interpolation blurs it in y and x where a turn does not carry voxels onto voxels.

    Raises
    ------
    UsageError
        If the sides along y and x differ and the turns are no half turns.
    """
    order, dihedral = symmetry_order(symmetry)
    _, ny, nx = volume.shape
    if order > 2 and ny != nx:
        raise UsageError(
            f"a box is not square about the axis of {symmetry}", got=f"{ny} x {nx} voxels", expected="y = x"
        )
    if order > 1:
        planes = volume.reshape(len(volume), -1)
        volume = np.ascontiguousarray((turns((ny, nx), order) @ planes.T).T, dtype=np.float32).reshape(volume.shape)
    if dihedral:
        volume = (volume + volume[::-1, ::-1]) / np.float32(2)
    return volume


def turns(shape: tuple[int, int], order: int) -> sparse.csr_array:
    """Return the matrix that averages a flattened (y, x) plane over the turns by 360/order degrees."""
    from scipy import sparse

    ny, nx = shape
    y, x = (axis.ravel() for axis in np.mgrid[:ny, :nx] - (np.array(shape) - 1)[:, None, None] / 2)
    rows, columns, weights = [], [], []
    for k in range(order):
        turn = _turn(2 * math.pi * k / order)[1:, 1:]
        there = np.clip(turn @ np.stack([y, x]) + (np.array(shape) - 1)[:, None] / 2, 0, np.array([[ny - 1], [nx - 1]]))
        base = np.minimum(np.floor(there + 1e-9), np.array([[ny - 2], [nx - 2]])).astype(int)
        part = np.clip(there - base, 0, 1)
        for step_y, step_x in ((0, 0), (0, 1), (1, 0), (1, 1)):
            rows.append(np.arange(ny * nx))
            columns.append((base[0] + step_y) * nx + base[1] + step_x)
            weights.append(np.abs(1 - step_y - part[0]) * np.abs(1 - step_x - part[1]) / order)
    entries = (np.concatenate(weights).astype(np.float32), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_array(entries, shape=(ny * nx, ny * nx))
