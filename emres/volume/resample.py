"""Resampling as one matrix per axis.

Fourier interpolation is linear and separable, so going from n voxels to m along an axis is an (m, n) matrix: the
Dirichlet kernel evaluated where the new voxels lie. That makes it exact at *any* voxel size (a plain Fourier crop
only reaches n / m times the old one), lets it run one axis after the other, and lets it stream: only the axis
being resampled must be whole.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from emres.volume.blocks import Box
from emres.volume.boxes import bounding_box
from emres.volume.grid import Grid, Shape, as_shape

Volume = np.ndarray[Any, np.dtype[np.float32]]
Matrix = Volume
Slices = tuple[slice, slice, slice]


class Sliceable(Protocol):
    """Anything that gives a part of a volume for a slice: a numpy array, a Zarr array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along z, y, x."""
        ...

    def __getitem__(self, where: Any) -> Any:
        """Return the part as a numpy array."""
        ...


def read_box(values: Sliceable, box: Box, beyond: float = 0.0, held: Box | None = None) -> Volume:
    """Return a box of a volume as float32, which may reach beyond its faces.

    Parameters
    ----------
    values : Sliceable
    box : Box
    beyond : float
        What stands there.
    held : Box, optional
        What lies outside this part is beyond the faces, too.

    Examples
    --------
    >>> read_box(np.ones((2, 2, 2)), Box((0, 0, 1), (1, 1, 4)))
    array([[[1., 0., 0.]]], dtype=float32)
    """
    z, y, x = values.shape
    inner = box.clipped((z, y, x))
    if held is not None:
        inner = inner.shared(held)
    if inner == box:
        return np.asarray(values[box.slices], dtype=np.float32)
    part = np.full(box.shape, beyond, dtype=np.float32)
    if min(inner.shape) > 0:
        part[inner.within(box).slices] = values[inner.slices]
    return part


def fourier_matrix(n: int, m: int, step: float, offset: float = 0.0) -> Matrix:
    """Return the matrix that evaluates a periodic band-limited signal at new positions.

    Parameters
    ----------
    n : int
        Voxels of the input.
    m : int
        Voxels of the output.
    step : float
        New voxel size over old; above 1 the signal is also band-limited to the new Nyquist frequency.
    offset : float
        Where the first new voxel lies, in old voxels.

    Returns
    -------
    (m, n) float32

    Notes
    -----
    Row i is ``1/n sum_k c_k exp(2 pi i k (offset + i step - j) / n)`` over the frequencies that both grids hold. For
    even n the Nyquist term, which stands for both signs, counts half a cosine each.
    """
    if (m, step, offset) == (n, 1, 0):
        return np.eye(n, dtype=np.float32)  # without the kernel's rounding, so that it is seen to change nothing
    shift = (offset + np.arange(m)[:, None] * step - np.arange(n)[None, :]) * (2 * np.pi / n)
    highest = round(n / 2 / max(step, 1.0), 9)
    whole = int(np.ceil(highest)) - 1
    kernel = _dirichlet(shift, whole)
    if highest == whole + 1:
        kernel += np.cos((whole + 1) * shift)
    return np.asarray(kernel / n, dtype=np.float32)


def _dirichlet(phase: np.ndarray[Any, Any], order: int) -> np.ndarray[Any, Any]:
    """Return 1 + 2 sum_{k=1..order} cos(k phase), from its closed form."""
    half = np.sin(phase / 2)
    singular = np.abs(half) < 1e-9
    ratio = np.sin((order + 0.5) * phase) / np.where(singular, 1.0, half)
    return np.where(singular, 2 * order + 1.0, ratio)


def linear_matrix(n: int, m: int, step: float, offset: float = 0.0) -> Matrix:
    """Return the matrix of linear interpolation, constant beyond the first and the last voxel.

    Parameters and returns are those of :func:`fourier_matrix`.
    """
    position = np.clip(offset + np.arange(m) * step, 0, n - 1)
    lower = np.minimum(position.astype(int), max(n - 2, 0))
    weight = position - lower
    matrix = np.zeros((m, n), dtype=np.float32)
    rows = np.arange(m)
    matrix[rows, lower] = 1 - weight
    matrix[rows, np.minimum(lower + 1, n - 1)] += weight
    return matrix


def shift_matrix(n: int, m: int, offset: int) -> Matrix:
    """Return the matrix that moves voxels without changing them: new voxel i is old voxel ``i + offset``, or 0."""
    return np.eye(m, n, offset, dtype=np.float32)


def apply_matrices(values: np.ndarray[Any, Any], matrices: tuple[Matrix | None, Matrix | None, Matrix | None]) -> Any:
    """Multiply an array by one matrix along each of z, y, x; None leaves an axis alone.

    Parameters
    ----------
    values : (z, y, x) float32
    matrices : three of (new, old) float32 or None

    Returns
    -------
    (z', y', x') float32
    """
    values, (z, y, x) = _voxels_taken(values, matrices)
    # x first, then y, then z: each is a matrix product over contiguous memory, large enough to be worth its threads.
    if x is not None:
        values = (values.reshape(-1, values.shape[2]) @ x.T).reshape(*values.shape[:2], x.shape[0])
    if y is not None:
        values = np.matmul(y, values)
    if z is not None:
        values = (z @ values.reshape(values.shape[0], -1)).reshape(z.shape[0], *values.shape[1:])
    return np.ascontiguousarray(values, dtype=np.float32)


def _voxels_taken(
    values: np.ndarray[Any, Any], matrices: tuple[Matrix | None, Matrix | None, Matrix | None]
) -> tuple[np.ndarray[Any, Any], list[Matrix | None]]:
    """Take whole voxels from where matrices move them, and return the matrices that are left to be multiplied."""
    left, start, stop = list(matrices), [0, 0, 0], list(values.shape)
    for axis, matrix in enumerate(matrices):
        moved = None if matrix is None else _voxels_moved(matrix)
        if matrix is not None and moved is not None:
            left[axis], start[axis], stop[axis] = None, moved, moved + len(matrix)
    return read_box(values, Box(as_shape(start), as_shape(stop))), left


def _voxels_moved(matrix: Matrix) -> int | None:
    """Return how far a matrix moves voxels if it is one that :func:`shift_matrix` makes, or a part of one."""
    if not matrix.size:
        return None
    rows, columns = matrix.shape
    row, column = divmod(int(matrix.argmax()), columns)
    moved = column - row
    same = matrix[row, column] == 1 and np.array_equal(matrix, shift_matrix(columns, rows, moved))
    return moved if same else None


def resampling_matrices(source: Grid, target: Grid, kind: str = "fourier") -> tuple[Matrix, Matrix, Matrix]:
    """Return the three matrices (z, y, x) that carry a volume from one grid to another.

    Parameters
    ----------
    source, target : Grid
        Two grids over the same space; their origins say how they lie to each other.
    kind : {"fourier", "linear"}
        ``fourier`` leaves voxels alone, and puts zeros round them, where both grids have the same ones.
    """
    moved = _whole_voxels(source, target)
    if kind == "fourier" and moved is not None:
        z, y, x = (shift_matrix(*sides) for sides in zip(source.shape, target.shape, moved, strict=True))
        return z, y, x
    build = {"fourier": fourier_matrix, "linear": linear_matrix}[kind]
    z, y, x = (
        build(
            source.shape[k],
            target.shape[k],
            target.voxel_size[k] / source.voxel_size[k],
            (target.origin[k] - source.origin[k]) / source.voxel_size[k],
        )
        for k in range(3)
    )
    return z, y, x


def _whole_voxels(source: Grid, target: Grid) -> Shape | None:
    """Return by how many voxels the target begins later, if the voxels of both are the same ones."""
    index = source.to_index(target.origin)
    moved = tuple(round(value) for value in index)
    same = source.voxel_size == target.voxel_size
    if not same or max(abs(a - b) for a, b in zip(index, moved, strict=True)) > 1e-6:
        return None
    z, y, x = moved
    return z, y, x


def fourier_resample(values: np.ndarray[Any, Any], source: Grid, target: Grid) -> np.ndarray[Any, Any]:
    """Resample a volume held in memory from one grid to another in Fourier space.

    Parameters
    ----------
    values : (z, y, x) float32 on ``source``
    source, target : Grid

    Returns
    -------
    (z', y', x') float32 on ``target``
    """
    return np.asarray(apply_matrices(values, resampling_matrices(source, target)))


def coverage(source: Grid, target: Grid) -> tuple[Matrix, Matrix, Matrix]:
    """Return matrices that tell which target voxels linear interpolation back to the source will use.

    A mask on ``source`` carried by them is positive exactly on the voxels of ``target`` that are needed to
    interpolate a volume on ``target`` at every voxel of the mask.

    Parameters
    ----------
    source, target : Grid

    Returns
    -------
    three of (target, source) float32, zeros and ones
    """
    z, y, x = ((matrix.T != 0).astype(np.float32) for matrix in resampling_matrices(target, source, "linear"))
    return z, y, x


def carry(source: Sliceable, matrices: tuple[Matrix, Matrix, Matrix], box: Box) -> np.ndarray[Any, Any]:
    """Compute one box of ``matrices * source``, reading only the part of the source that it depends on.

    Parameters
    ----------
    source : (z, y, x) array that can be sliced (numpy, Zarr)
    matrices : three of (new, old) float32
    box : Box
        In voxels of the new grid.

    Returns
    -------
    array of the box's shape, float32
    """
    where = support(matrices, box)
    values = np.asarray(source[where])
    carried = np.zeros(box.shape, dtype=np.float32)
    # Masks are what is carried, and most of a mask is empty.
    filled = bounding_box(values != 0)
    if filled is not None:
        held = [m[part, columns] for m, part, columns in zip(matrices, box.slices, where, strict=True)]
        used = [matrix[:, part] for matrix, part in zip(held, filled.slices, strict=True)]
        z, y, x = used
        where = reached((z, y, x))
        z, y, x = (matrix[rows] for matrix, rows in zip(used, where, strict=True))
        carried[where] = apply_matrices(values[filled.slices].astype(np.float32), (z, y, x))
    return carried


def reached(matrices: tuple[Matrix, Matrix, Matrix]) -> Slices:
    """Return the part of the new grid that depends on the old one at all."""
    z, y, x = (_span(matrix, 0) for matrix in matrices)
    return z, y, x


def support(matrices: tuple[Matrix, Matrix, Matrix], box: Box) -> Slices:
    """Return the part of the old grid that a box of the new one depends on."""
    z, y, x = (_span(matrix[part], 1) for matrix, part in zip(matrices, box.slices, strict=True))
    return z, y, x


def _span(matrix: Matrix, axis: int) -> slice:
    """Return from the first to the last row (axis 0) or column (1) that is not empty."""
    where = np.flatnonzero(np.asarray(matrix.any(axis=1 - axis)))
    return slice(int(where[0]), int(where[-1]) + 1) if where.size else slice(0, 1)
