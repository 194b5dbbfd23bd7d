"""Where voxels lie in space, and what makes a DataArray a Volume.

A volume is an ``xarray.DataArray`` with dimensions z, y, x, values float32, and coordinates in Å that give the
centre of every voxel. Every 3-tuple here is z, y, x.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.errors import MapError, UsageError

if TYPE_CHECKING:
    import xarray as xr

    from emres.volume.blocks import Box

DIMS = ("z", "y", "x")

Shape = tuple[int, int, int]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Grid:
    """A regular grid of voxels.

    Parameters
    ----------
    shape : (z, y, x) voxels
    voxel_size : (z, y, x) Å
    origin : (z, y, x) Å
        Centre of voxel (0, 0, 0).

    Examples
    --------
    >>> grid = Grid((4, 4, 8), (1.5, 1.5, 1.5), origin=(0.0, 0.0, 30.0))
    >>> grid.to_angstrom((0, 0, 2))
    (0.0, 0.0, 33.0)
    >>> grid.to_index((0.0, 0.0, 33.0))
    (0.0, 0.0, 2.0)
    """

    shape: Shape
    voxel_size: Triple
    origin: Triple = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise UsageError("a grid has no voxels", got=f"shape {self.shape}", expected="at least 1 along each axis")
        if not all(math.isfinite(size) and size > 0 for size in self.voxel_size):
            raise MapError(
                "a grid has no usable voxel size",
                got=f"{self.voxel_size} Å (z, y, x)",
                expected="three positive numbers",
                cure="pass --voxel-size (voxel_size=) in Å",
            )

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @property
    def extent(self) -> Triple:
        """Length of the box along z, y, x in Å."""
        z, y, x = (n * size for n, size in zip(self.shape, self.voxel_size, strict=True))
        return z, y, x

    @property
    def mean_voxel_size(self) -> float:
        """Geometric mean of the three voxel sizes, Å: one number for a grid that is nearly isotropic."""
        return float(math.prod(self.voxel_size) ** (1 / 3))

    def coordinates(self) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
        """Å of every voxel centre, by dimension name."""
        axes = zip(DIMS, self.shape, self.voxel_size, self.origin, strict=True)
        return {dim: start + size * np.arange(n, dtype=np.float64) for dim, n, size, start in axes}

    def to_angstrom(self, index: Triple) -> Triple:
        """Position in Å of a (fractional) voxel index."""
        z, y, x = (o + i * s for o, i, s in zip(self.origin, index, self.voxel_size, strict=True))
        return z, y, x

    def to_index(self, position: Triple) -> Triple:
        """Fractional voxel index of a position in Å."""
        z, y, x = ((p - o) / s for o, p, s in zip(self.origin, position, self.voxel_size, strict=True))
        return z, y, x

    def matches(self, other: Grid, tolerance: float = 0.01) -> bool:
        """Tell whether both grids are the same within ``tolerance`` voxels over the whole box."""
        if self.shape != other.shape:
            return False
        axes = zip(self.shape, self.voxel_size, other.voxel_size, self.origin, other.origin, strict=True)
        return all(max(abs(p - q), abs(p - q + n * (a - b))) <= tolerance * a for n, a, b, p, q in axes)

    def part(self, box: Box) -> Grid:
        """Return the grid of a box of its voxels."""
        return Grid(box.shape, self.voxel_size, self.to_angstrom(box.start))

    def resampled(self, voxel_size: float) -> Grid:
        """Return the grid of another, isotropic voxel size (Å) over the same box, from the same first voxel."""
        z, y, x = (max(1, math.ceil(round(length / voxel_size, 6))) for length in self.extent)
        return Grid((z, y, x), (voxel_size,) * 3, self.origin)

    def resampled_evenly(self, voxel_size: float) -> Grid:
        """Return the grid of another, isotropic voxel size (Å) over the same box, about the same middle.

        A map that is turned, or whose box is padded evenly, comes on the same voxels. They are even in number, and may
        reach a voxel beyond the box.

        Examples
        --------
        >>> Grid((4, 4, 5), (1.0, 1.0, 1.0)).resampled_evenly(2.0)
        Grid(shape=(2, 2, 4), voxel_size=(2.0, 2.0, 2.0), origin=(0.5, 0.5, -1.0))
        """
        if self.voxel_size == (voxel_size,) * 3:
            return self
        n, m, k = (2 * max(1, math.ceil(round(length / voxel_size / 2, 6))) for length in self.extent)
        z, y, x = (
            start + (old - 1) / 2 * size - (new - 1) / 2 * voxel_size
            for start, old, size, new in zip(self.origin, self.shape, self.voxel_size, (n, m, k), strict=True)
        )
        return Grid((n, m, k), (voxel_size,) * 3, (z, y, x))


def make_volume(
    values: Any, grid: Grid, *, emdb_id: str | None = None, kind: str = "map", **attrs: Any
) -> xr.DataArray:
    """Dress an array as a Volume.

    Parameters
    ----------
    values : (z, y, x) array (numpy or dask)
        Density in its own units, or Å for a local resolution.
    grid : Grid
    emdb_id : str, optional
        "EMD-13939".
    kind : str
        ``map``, ``half_map_1``, ``half_map_2``, ``mask`` or ``local_resolution/<name>``.
    **attrs
        Further attributes (JSON values only).

    Returns
    -------
    xarray.DataArray
        Dimensions z, y, x; coordinates in Å.

    Raises
    ------
    UsageError
        If the array has not the grid's shape.
    """
    import xarray as xr

    if tuple(values.shape) != grid.shape:
        raise UsageError("an array does not fit its grid", got=f"{tuple(values.shape)}", expected=f"{grid.shape}")
    units = "angstrom" if kind.startswith("local_resolution") else "density"
    named = {"emdb_id": emdb_id} if emdb_id else {}
    volume = xr.DataArray(
        values,
        dims=DIMS,
        coords=grid.coordinates(),
        name=kind.split("/")[0],
        attrs={**named, "kind": kind, "units": units, "voxel_size": list(grid.voxel_size), **attrs},
    )
    for dim in DIMS:
        volume.coords[dim].attrs["units"] = "angstrom"
    return volume


def grid_of(volume: xr.DataArray) -> Grid:
    """Return the grid that a volume's coordinates describe.

    Raises
    ------
    UsageError
        If the array has no z, y, x coordinates that rise at a regular step.
    """
    if volume.dims != DIMS or not all(dim in volume.coords for dim in DIMS):
        raise UsageError(
            "an array is not a volume",
            got=f"dimensions {volume.dims}",
            expected="z, y, x with coordinates in Å",
            cure="make one with emres.make_volume(array, grid)",
        )
    axes = [volume.coords[dim].values for dim in DIMS]
    declared = volume.attrs.get("voxel_size", (1.0, 1.0, 1.0))
    sizes = [_step(dim, axis, size) for dim, axis, size in zip(DIMS, axes, declared, strict=True)]
    z, y, x = volume.shape
    return Grid((z, y, x), (sizes[0], sizes[1], sizes[2]), (float(axes[0][0]), float(axes[1][0]), float(axes[2][0])))


def _step(dim: str, axis: np.ndarray[Any, Any], declared: float) -> float:
    if axis.size < 2:
        return float(declared)
    step = (float(axis[-1]) - float(axis[0])) / (axis.size - 1)
    if not step > 0 or not np.allclose(np.diff(axis), step, rtol=1e-3):
        raise UsageError(
            f"coordinate {dim} of a volume does not rise at a regular step", cure="use every n-th voxel, or all"
        )
    return step


def as_shape(values: Iterable[Any]) -> Shape:
    """Return three whole numbers as a tuple.

    Examples
    --------
    >>> as_shape([4.0, 5, 6])
    (4, 5, 6)
    """
    z, y, x = (int(value) for value in values)
    return z, y, x
