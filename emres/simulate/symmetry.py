"""Symmetry about an axis along z: copies of a model, and volumes averaged over the turns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.errors import UsageError
from emres.simulate.atoms import Atoms
from emres.simulate.recipe import symmetry_order

if TYPE_CHECKING:
    from scipy import sparse

Array = np.ndarray[Any, Any]

# How near the atoms of neighbouring copies come, Å, and of how many atoms that is judged.
_CONTACT = 4.0
_JUDGED = 1500


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
    away, above = _packed(atoms.positions - atoms.middle, order, dihedral)
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


def _packed(offset: Array, order: int, dihedral: bool) -> tuple[float, float]:
    """Return how far from the axis (along x) and from its middle (along z) a model stands, Å, to touch its copies."""
    few = offset[:: max(1, len(offset) // _JUDGED)]
    away = above = 0.0
    if order > 1:
        turn = _turn(2 * math.pi / order)
        away = _nearest_free(few, np.array([0.0, 0.0, 1.0]), lambda here: here @ turn.T)
    if dihedral:
        ring = np.concatenate(
            [(few + np.array([0.0, 0.0, away])) @ _turn(2 * math.pi * k / order).T for k in range(order)]
        )
        ring = ring[:: max(1, len(ring) // _JUDGED)]
        above = _nearest_free(ring, np.array([1.0, 0.0, 0.0]), lambda here: here * np.array([-1.0, -1.0, 1.0]))
    return away, above


def _nearest_free(offset: Array, direction: Array, copy: Callable[[Array], Array]) -> float:
    """Return the least shift along a direction, to 1 Å, with which a model and its copy do not touch."""
    from scipy.spatial import KDTree

    def free(shift: float) -> bool:
        here = offset + shift * direction
        return bool(KDTree(here).query(copy(here), distance_upper_bound=_CONTACT)[0].min() >= _CONTACT)

    touching, apart = 0.0, float(np.ptp(offset, axis=0).max()) + _CONTACT
    while not free(apart):
        touching, apart = apart, 2 * apart
    while apart - touching > 1:
        middle = (touching + apart) / 2
        touching, apart = (touching, middle) if free(middle) else (middle, apart)
    return apart


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
    """Return the matrix that averages a flattened, periodic (y, x) plane over the turns by 360/order degrees."""
    from scipy import sparse

    ny, nx = shape
    y, x = (axis.ravel() for axis in np.mgrid[:ny, :nx] - (np.array(shape) - 1)[:, None, None] / 2)
    rows, columns, weights = [], [], []
    for k in range(order):
        turn = _turn(2 * math.pi * k / order)[1:, 1:]
        there = turn @ np.stack([y, x]) + (np.array(shape) - 1)[:, None] / 2
        base = np.floor(there + 1e-9).astype(int)
        part = np.clip(there - base, 0, 1)
        for step_y, step_x in ((0, 0), (0, 1), (1, 0), (1, 1)):
            rows.append(np.arange(ny * nx))
            columns.append((base[0] + step_y) % ny * nx + (base[1] + step_x) % nx)
            weights.append(np.abs(1 - step_y - part[0]) * np.abs(1 - step_x - part[1]) / order)
    entries = (np.concatenate(weights).astype(np.float32), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_array(entries, shape=(ny * nx, ny * nx))
