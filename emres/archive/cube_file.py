"""The predecessor's training files: HDF5 with ``map`` and ``target``, (N, 16, 16, 16) each (the only ``h5py``).

A cube is a piece of a map and of its local resolution in Å, voxel by voxel; 100 stands where there is no resolution.
Here, as everywhere in emres, that is 0: what is read has 0 for 100, and what is written 100 for 0.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.disk import replaced_file
from emres.errors import EmresError, MapError, StoreError, UsageError

if TYPE_CHECKING:
    import h5py

Array = np.ndarray[Any, Any]

MAP, TARGET = "map", "target"
NO_SIGNAL = 100.0
SIDE = 16

_SIDES = range(4, 65)
_CHUNK = 64  # cubes


@dataclass(frozen=True)
class CubeFile:
    """An open file of cubes.

    Parameters
    ----------
    path : Path
    maps, targets : h5py.Dataset
    """

    path: Path
    maps: h5py.Dataset
    targets: h5py.Dataset

    @property
    def count(self) -> int:
        """How many cubes there are."""
        return int(self.maps.shape[0])

    @property
    def side(self) -> int:
        """Voxels along an edge of a cube."""
        return int(max(self.maps.shape[1:]))

    def read(self, start: int, stop: int) -> tuple[Array, Array]:
        """Return some cubes and their targets.

        Returns
        -------
        (n, side, side, side) float32, twice
            Density; Å, 0 where there is none.

        Raises
        ------
        MapError
            If the file is damaged there, or a value is no density or no resolution.
        """
        shape = (stop - start, *(self.side,) * 3)
        try:
            density, target = (
                np.asarray(found[start:stop], dtype=np.float32).reshape(shape) for found in (self.maps, self.targets)
            )
        except (OSError, RuntimeError) as error:
            raise _damaged(self.path, error) from error
        for name, values, usable in ((MAP, density, np.isfinite(density)), (TARGET, target, target >= 0)):
            if not usable.all():
                cube, *where = (int(k) for k in np.argwhere(~usable)[0])
                raise MapError(
                    f"the {name} of {self.path} cannot be used",
                    got=f"{values[cube, *where]} in cube {start + cube}",
                    expected="numbers" if name == MAP else "Å, or 100 where there is no resolution",
                )
        return density, np.where(target >= NO_SIGNAL, np.float32(0), target)


@contextmanager
def open_cubes(path: Path | str) -> Iterator[CubeFile]:
    """Open a file of cubes and check that it is one, without reading it.

    Parameters
    ----------
    path : path

    Yields
    ------
    CubeFile

    Raises
    ------
    UsageError
        If h5py is not installed.
    MapError
        If it is no HDF5 file, is damaged, lacks ``map`` or ``target``, or these are no cubes, or lie in other files.
    """
    path = Path(path)
    file = _opened(path)
    try:
        with file:
            maps, targets = _dataset(file, MAP, path), _dataset(file, TARGET, path)
            if maps.shape != targets.shape:
                raise MapError(
                    f"{path} does not give every cube a target", got=f"{targets.shape}", expected=f"{maps.shape}"
                )
            yield CubeFile(path, maps, targets)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise _damaged(path, error) from error


def _opened(path: Path) -> h5py.File:
    h5 = _h5py()
    if not path.is_file():
        raise MapError(f"there is no file {path}", cure="check the path")
    try:
        return h5.File(path, "r")
    except OSError as error:
        raise _damaged(path, error) from error


def _dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """Return a data set that lies in this very file and holds cubes of numbers."""
    h5 = _h5py()
    # A link to another file would be followed without a word: what is read would not be what was given.
    link = file.get(name, getlink=True)
    found = file.get(name) if isinstance(link, h5.HardLink) else None
    if link is not None and found is None:
        raise MapError(f"the {name} of {path} is a link", expected="a data set in the file itself")
    if not isinstance(found, h5.Dataset):
        have = ", ".join(sorted(file)[:5]) or "nothing"
        raise MapError(f"{path} has no data set {name}", got=have, expected=f"{MAP} and {TARGET}")
    if found.is_virtual or found.external:
        raise MapError(f"the {name} of {path} lies in other files", expected="a data set in the file itself")
    sides = _sides(found.shape or ())
    if found.dtype.kind not in "fiu" or len(sides) != 3 or len(set(sides)) != 1 or sides[0] not in _SIDES:
        raise MapError(
            f"the {name} of {path} holds no cubes",
            got=f"{found.dtype} of shape {found.shape}",
            expected=f"numbers of shape (N, {SIDE}, {SIDE}, {SIDE})",
        )
    if not found.shape[0]:
        raise MapError(f"the {name} of {path} is empty", expected="cubes")
    return found


def _sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a cube's sides; an axis of channels, first or last, may be there if it is one."""
    sides = shape[1:]
    if len(sides) == 4 and 1 in (sides[0], sides[-1]):
        return sides[1:] if sides[0] == 1 else sides[:-1]
    return sides


def _damaged(path: Path, error: Exception) -> EmresError:
    if isinstance(error, EmresError):
        return error
    return MapError(f"{path} cannot be read as HDF5", got=str(error).split("\n")[0], cure="check that it is whole")


class CubeWriter:
    """Append cubes to a file of the predecessor's kind; made by :func:`write_cubes`."""

    def __init__(self, file: h5py.File, side: int) -> None:
        self.count, self._side = 0, side
        self._sets = [
            file.create_dataset(
                name,
                shape=(0, side, side, side),
                maxshape=(None, side, side, side),
                chunks=(_CHUNK, side, side, side),
                dtype="float32",
                shuffle=True,
                compression="gzip",
                compression_opts=1,
                track_times=False,  # the same cubes are the same bytes, today and tomorrow
            )
            for name in (MAP, TARGET)
        ]

    def add(self, density: Array, target: Array) -> None:
        """Append cubes.

        Parameters
        ----------
        density, target : (n, side, side, side) float32
            Density; Å, 0 where there is none.
        """
        start, self.count = self.count, self.count + len(density)
        for found, values in zip(self._sets, (density, np.where(target == 0, NO_SIGNAL, target)), strict=True):
            found.resize(self.count, axis=0)
            found[start:] = values


@contextmanager
def write_cubes(path: Path | str, side: int = SIDE, *, overwrite: bool = False) -> Iterator[CubeWriter]:
    """Write a file of cubes that appears when it is whole, or not at all.

    Parameters
    ----------
    path : path
    side : int
        Voxels along an edge.
    overwrite : bool

    Yields
    ------
    CubeWriter

    Raises
    ------
    UsageError
        If h5py is not installed, or the file exists and may not be replaced.
    StoreError
        If it cannot be written.
    """
    path, h5 = Path(path), _h5py()
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{path} exists already", cure="pass --force to replace it")
    try:
        with replaced_file(path) as part, h5.File(part, "w") as file:
            yield CubeWriter(file, side)
    except (OSError, RuntimeError) as error:  # HDF5 tells of a full disk in either
        reason = str(error).split("\n")[0]
        raise StoreError(f"{path} cannot be written", got=reason, cure="check the folder and its free space") from error


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise UsageError("HDF5 files need h5py, which is not installed", cure="pip install 'emres[hdf5]'") from error
    return h5py
