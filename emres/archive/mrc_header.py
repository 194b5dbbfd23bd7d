"""The 1024 bytes in front of an MRC/CCP4 map, and what they mean.

This is the only place where x, y, z and the grid start (``nstart``) live. In the file, a voxel has a column, a row
and a section; ``mapc, mapr, maps`` say which of x, y, z each of them runs along::

    file array      (section, row, column)      as it is stored, any of 6 axis orders
    canonical       (z, y, x)                   as all of emres sees it

Where voxel (0, 0, 0) lies follows ChimeraX: the MRC2014 ``origin`` (Å) if the file calls itself ``MAP``, any of it is
not 0 and none is NaN; else nstart x voxel size, unless nstart looks like memory nobody set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from emres.errors import UsageError
from emres.volume.grid import Grid, Shape, Triple

HEADER_BYTES = 1024
LABELS, LABEL_BYTES = 10, 80

# A grid start beyond so many boxes was never set (ChimeraX's rule).
UNSET_NSTART = 10

IMOD_STAMP = 1146047817

# The modes that are density. 0 is signed unless IMOD says otherwise (see MapHeader.unsigned_bytes).
DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}

Ints = tuple[int, int, int]
ByteOrder = Literal["<", ">"]


@dataclass(frozen=True)
class MapHeader:
    """What a map's header says: enough to write another map that lies exactly on it.

    Parameters
    ----------
    shape : (nx, ny, nz)
        Columns, rows and sections, in file order.
    mode : int
        How voxels are stored: 0 int8, 1 int16, 2 float32, 6 uint16, 12 float16.
    byte_order : {"<", ">"}
    nstart : (nxstart, nystart, nzstart)
        Grid index of the first voxel, in file order.
    sampling : (mx, my, mz)
        Voxels along the unit cell, in x, y, z.
    cell, angles : (x, y, z)
        Unit cell in Å and degrees.
    axes : (mapc, mapr, maps)
        1, 2, 3 for x, y, z.
    origin : (x, y, z) Å
        0 where the file's is not to be used.
    ispg, nsymbt, nversion : int
        Space group, bytes of extended header, format version.
    exttyp, machine_stamp : str
        Type of the extended header; the stamp in hexadecimal.
    statistics : (dmin, dmax, dmean, rms)
    labels : tuple of str
    unsigned_bytes : bool
        Mode 0 means uint8. MRC2014 says int8; IMOD wrote uint8 for decades, and marks its files: a file with IMOD's
        stamp and without its "signed" flag is unsigned, any other is signed.
    """

    shape: Ints
    mode: int
    byte_order: ByteOrder
    nstart: Ints
    sampling: Ints
    cell: Triple
    angles: Triple
    axes: Ints
    origin: Triple
    ispg: int
    nsymbt: int
    nversion: int
    exttyp: str
    machine_stamp: str
    statistics: tuple[float, float, float, float]
    labels: tuple[str, ...]
    unsigned_bytes: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a stored voxel."""
        code = "u1" if self.mode == 0 and self.unsigned_bytes else DTYPES[self.mode]
        return np.dtype(code).newbyteorder(self.byte_order)

    @property
    def data_offset(self) -> int:
        """Bytes in front of the first voxel."""
        return HEADER_BYTES + self.nsymbt

    @property
    def data_bytes(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def file_axes(self) -> Ints:
        """Canonical axis (0 z, 1 y, 2 x) along which sections, rows and columns run.

        ``canonical.transpose(file_axes)`` is a view in file order.
        """
        mapc, mapr, maps = self.axes
        return 3 - maps, 3 - mapr, 3 - mapc

    @property
    def grid(self) -> Grid:
        """Where the voxels lie, in z, y, x."""
        x, y, z = self._start()
        return Grid(_shape(self._to_xyz(self.shape)), self.voxel_size, (z, y, x))

    @property
    def voxel_size(self) -> Triple:
        """Å, in z, y, x."""
        x, y, z = (length / m if m > 0 else 0.0 for length, m in zip(self.cell, self.sampling, strict=True))
        return z, y, x

    @property
    def nstart_xyz(self) -> Ints:
        """Grid index of the first voxel along x, y, z."""
        return self._to_xyz(self.nstart)

    def _start(self) -> Triple:
        if any(self.origin):
            return self.origin
        if max(map(abs, self.nstart)) > UNSET_NSTART * max(*self.sampling, *self.shape):
            return 0.0, 0.0, 0.0
        x, y, z = (n * size for n, size in zip(self.nstart_xyz, reversed(self.voxel_size), strict=True))
        return x, y, z

    def _to_xyz(self, file_order: Ints) -> Ints:
        x, y, z = (file_order[self.axes.index(axis)] for axis in (1, 2, 3))
        return x, y, z

    def with_voxel_size(self, voxel_size: float | Sequence[float]) -> MapHeader:
        """Return the header with another voxel size (Å; one number or z, y, x).

        Raises
        ------
        UsageError
            If there are neither one nor three numbers.
        """
        sizes = [float(size) for size in np.atleast_1d(voxel_size)]
        if len(sizes) not in (1, 3):
            raise UsageError("a voxel size is wrong", got=f"{len(sizes)} numbers", expected="one, or three (z, y, x)")
        sizes = sizes * (3 // len(sizes))
        n = self._to_xyz(self.shape)
        mx, my, mz = (m if m > 0 else count for m, count in zip(self.sampling, n, strict=True))
        x, y, z = (m * size for m, size in zip((mx, my, mz), reversed(sizes), strict=True))
        return replace(self, sampling=(mx, my, mz), cell=(x, y, z))

    def to_attrs(self) -> dict[str, Any]:
        """Return the header as JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_attrs(cls, attrs: dict[str, Any]) -> MapHeader:
        """Return the header that :meth:`to_attrs` wrote."""
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in attrs.items()}
        return cls(**fields)


def _shape(xyz: Ints) -> Shape:
    return xyz[2], xyz[1], xyz[0]


def header_from_record(record: Any, order: ByteOrder) -> MapHeader:
    """Turn a header record into a :class:`MapHeader`, whatever it says.

    Parameters
    ----------
    record : structured array of shape (), in mrcfile's ``HEADER_DTYPE``
    order : {"<", ">"}

    Returns
    -------
    MapHeader
        Not checked, see :mod:`emres.archive.mrc_check`.
    """
    axes = _ints(record, "mapc", "mapr", "maps")
    return MapHeader(
        shape=_ints(record, "nx", "ny", "nz"),
        mode=int(record["mode"]),
        byte_order=order,
        nstart=_ints(record, "nxstart", "nystart", "nzstart"),
        sampling=_ints(record, "mx", "my", "mz"),
        cell=_floats(record["cella"], "x", "y", "z"),
        angles=_angles(_floats(record["cellb"], "alpha", "beta", "gamma")),
        axes=axes if any(axes) else (1, 2, 3),
        origin=_origin(record),
        ispg=int(record["ispg"]),
        nsymbt=int(record["nsymbt"]),
        nversion=int(record["nversion"]),
        exttyp=_text(record["exttyp"].tobytes()),
        machine_stamp=record["machst"].tobytes().hex(),
        statistics=_statistics(record),
        labels=tuple(_text(label.tobytes()) for label in record["label"][: min(max(int(record["nlabl"]), 0), LABELS)]),
        unsigned_bytes=_unsigned_bytes(record["extra2"].tobytes(), order),
    )


def _ints(record: Any, *fields: str) -> Ints:
    a, b, c = (int(record[field]) for field in fields)
    return a, b, c


def _floats(record: Any, *fields: str) -> Triple:
    a, b, c = (float(record[field]) for field in fields)
    return a, b, c


def _origin(record: Any) -> Triple:
    # In files from before 2000, without the word MAP, these bytes are something else.
    origin = _floats(record["origin"], "x", "y", "z")
    used = record["map"].tobytes()[:3] == b"MAP" and not any(math.isnan(start) for start in origin)
    return origin if used else (0.0, 0.0, 0.0)


def _angles(angles: Triple) -> Triple:
    # Many programs leave the angles of a cell that has none at 0.
    a, b, c = (angle if 0 < angle < 180 else 90.0 for angle in angles)
    return a, b, c


def _statistics(record: Any) -> tuple[float, float, float, float]:
    values = [float(record[field]) for field in ("dmin", "dmax", "dmean", "rms")]
    a, b, c, d = (value if math.isfinite(value) else 0.0 for value in values)
    return a, b, c, d


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("ascii", "replace").rstrip()


def _unsigned_bytes(extra: bytes, order: ByteOrder) -> bool:
    # ``extra2`` starts at byte 112 of the header, IMOD's stamp and flags lie at 152 and 156.
    stamp, flags = np.frombuffer(extra, f"{order}i4", 2, offset=40)
    return bool(stamp == IMOD_STAMP and not flags & 1)
