"""What a map's header must fulfil before anything is allocated on its word."""

from __future__ import annotations

import math
import warnings

import numpy as np

from emres.archive.mrc_header import DTYPES, ByteOrder, MapHeader
from emres.errors import MapError

# Above this a dimension is absurd; and a byte-swapped dimension always is (see byte_order).
DIMENSION_LIMIT = 2**16
VOXEL_LIMIT = 4096**3
VOXEL_SIZE_RANGE = (0.05, 100.0)
ORIGIN_LIMIT = 1e7

REFUSED_MODES = {3: "complex int16 (a transform)", 4: "complex float32 (a transform)", 101: "4-bit integers"}

FOREIGN = {
    b"\x89HDF": "an HDF5 file",
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zX": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"II*\0": "a TIFF file",
    b"MM\0*": "a TIFF file",
    b"\x89PNG": "a PNG picture",
    b"%PDF": "a PDF",
    b"data": "an mmCIF model",
}


class CellWarning(UserWarning):
    """A map whose unit cell is not orthogonal is read as if it were."""


def byte_order(raw: bytes, name: str) -> ByteOrder:
    """Tell the byte order of a header from its dimensions, which never lie about it, as machine stamps do.

    A dimension below 2**16 has a non-zero low half; read the wrong way round it is 2**16 or more.

    Parameters
    ----------
    raw : bytes
        At least the first 16 bytes of the file.
    name : str
        What to call the file in an error.

    Raises
    ------
    MapError
        If the bytes are no header in either order.
    """
    orders: tuple[ByteOrder, ...] = ("<", ">")
    for order in orders:
        if all(0 < n < DIMENSION_LIMIT for n in np.frombuffer(raw, f"{order}i4", 3)):
            return order
    foreign = _foreign(raw)
    if foreign:
        raise MapError(f"{name} is not a map", got=foreign, expected="MRC/CCP4", cure="check where it came from")
    raise MapError(
        f"{name} is not an MRC/CCP4 map",
        got=f"{' x '.join(str(n) for n in np.frombuffer(raw, '<i4', 3))} voxels in its header",
        expected=f"1 to {DIMENSION_LIMIT - 1} along each axis",
        cure="download or export it again",
    )


def _foreign(raw: bytes) -> str | None:
    text = raw.lstrip()[:64]
    if text[:1] == b"<" and text.isascii():
        return "an HTML or XML page"
    return FOREIGN.get(raw[:4])


def check_layout(header: MapHeader, name: str) -> None:
    """Refuse a header that describes no volume of real numbers.

    Raises
    ------
    MapError
    """
    if header.mode not in DTYPES:
        what = REFUSED_MODES.get(header.mode, "unknown")
        raise MapError(
            f"{name} does not hold real density values",
            got=f"mode {header.mode}, {what}",
            expected="mode 0, 1, 2, 6 or 12",
            cure="save it as float32 (mode 2)",
        )
    if sorted(header.axes) != [1, 2, 3]:
        raise MapError(
            f"{name} has an impossible axis order",
            got=f"mapc, mapr, maps = {header.axes}",
            expected="1, 2 and 3 in any order",
            cure="export it again",
        )
    if header.nsymbt < 0:
        raise MapError(
            f"{name} has a broken header",
            got=f"{header.nsymbt} bytes of extended header",
            expected="0 or more",
            cure="export it again",
        )
    if math.prod(header.shape) > VOXEL_LIMIT:
        raise MapError(
            f"{name} has absurd dimensions",
            got=" x ".join(map(str, header.shape)),
            expected=f"at most {VOXEL_LIMIT:.1e} voxels",
            cure="download or export it again",
        )
    _check_volume(header, name)


def _check_volume(header: MapHeader, name: str) -> None:
    nx, ny, nz = header.shape
    got = f"{nx} x {ny} x {nz}, space group {header.ispg}, mz {header.sampling[2]}"
    if min(header.shape) == 1:
        raise MapError(f"{name} is an image, not a volume", got=got, expected="3 dimensions", cure="give a 3D map")
    if header.ispg == 0 and header.sampling[2] == 1:
        raise MapError(
            f"{name} is a stack of images",
            got=got,
            expected="a volume (mz = nz)",
            cure="if it is a volume, set its space group to 1",
        )
    if 401 <= header.ispg <= 630:
        raise MapError(f"{name} is a stack of volumes", got=got, expected="one volume", cure="split it")


def check_geometry(header: MapHeader, name: str) -> None:
    """Refuse a voxel size or origin that cannot be; warn of a cell that is not orthogonal.

    Raises
    ------
    MapError
    """
    low, high = VOXEL_SIZE_RANGE
    if not all(low <= size <= high for size in header.voxel_size):
        sizes = ", ".join(f"{size:.4g}" for size in header.voxel_size)
        raise MapError(
            f"{name} has no usable voxel size",
            got=f"{sizes} Å (z, y, x)",
            expected=f"{low} to {high:g} Å",
            cure="pass --voxel-size (voxel_size=) in Å",
        )
    origin = header.grid.origin
    if not all(abs(start) <= ORIGIN_LIMIT for start in origin):
        raise MapError(
            f"{name} has an absurd origin",
            got=f"{origin} Å (z, y, x)",
            expected=f"within {ORIGIN_LIMIT:g} Å",
            cure="set origin and nstart in its header to 0",
        )
    if any(abs(angle - 90) > 0.01 for angle in header.angles):
        warnings.warn(
            f"{name} has a cell that is not orthogonal: got angles {header.angles}, expected 90 degrees; "
            "it is treated as orthogonal, so distances in it are approximate",
            CellWarning,
            stacklevel=4,
        )
