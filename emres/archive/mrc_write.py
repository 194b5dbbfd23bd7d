"""Volumes -> MRC maps that lie exactly on the map they come from.

Slabs are appended with ordinary writes, and the header, whose statistics are known only then, is put in front last.
Not a memory map: on a full disk that ends in a bus error, where a write ends in a sentence.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from emres.archive.compress import compress_gzip, read_ahead
from emres.archive.disk import disk_errors
from emres.archive.mrc_header import HEADER_BYTES, LABEL_BYTES, LABELS, MapHeader
from emres.errors import MapError, StoreError, UsageError
from emres.volume.density import RunningStatistics
from emres.volume.grid import Grid, grid_of

if TYPE_CHECKING:
    import xarray as xr

Array = np.ndarray[Any, Any]

SLAB = 64
LITTLE_ENDIAN = "44440000"
VERSION = 20141


def write_mrc(
    path: str | Path,
    volume: xr.DataArray,
    *,
    header: MapHeader | None = None,
    labels: Sequence[str] = (),
    overwrite: bool = False,
    values: Any = None,
) -> Path:
    """Write a volume as an MRC2014 map (float32, little-endian, z y x), gzip-compressed if the name ends in ``.gz``.

    Parameters
    ----------
    path : path
    volume : Volume
        (z, y, x). A lazy one (Dask, Zarr) is computed slab by slab and never held whole.
    header : MapHeader, optional
        Of the map that the volume comes from; by default ``volume.attrs["mrc_header"]``. If it describes the volume's
        grid, its origin, nstart, cell, angles and space group are kept, so that both maps coincide in every viewer.
        Its labels are kept in any case.
    labels : sequence of str
        Added behind those of ``header``. 10 labels fit: if there are more, the older ones give way.
    overwrite : bool
    values : (z, y, x) array, optional
        The volume's voxels once more, where slicing these costs less: a Zarr array without Dask round it.

    Returns
    -------
    Path
        The file, complete. If anything goes wrong there is none under this name, or the old one.

    Raises
    ------
    UsageError
        If the file exists and ``overwrite`` is not set, or ``volume`` is no volume.
    MapError
        If a voxel is not finite.
    StoreError
        If the file cannot be written.
    """
    path = Path(path)
    _check_target(path, overwrite)
    out_header = _output_header(volume, header, labels)
    try:
        with disk_errors(path), _moved_into_place(path) as part:
            _write_plain(part, volume, out_header, values)
            if path.suffix == ".gz":
                _compress_in_place(part)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written",
            got=error.strerror or str(error),
            cure=f"check that {path.parent} is a folder with free space",
        ) from error
    return path


def _check_target(path: Path, overwrite: bool) -> None:
    if path.suffix == ".bz2":
        raise UsageError(f"{path} would not be bzip2", expected="a name in .mrc, .map, .ccp4, or these with .gz")
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{path} exists already", cure="pass --force (overwrite=True) or another name")


@contextmanager
def _moved_into_place(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; move the file to ``path`` if all went well, else remove it."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield part
        part.replace(path)
        _sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _compress_in_place(part: Path) -> None:
    packed = part.with_suffix(".gz.part")
    try:
        compress_gzip(part, packed)
        packed.replace(part)
    finally:
        packed.unlink(missing_ok=True)


def _write_plain(path: Path, volume: xr.DataArray, header: MapHeader, values: Any) -> None:
    with path.open("xb") as file:
        file.write(bytes(HEADER_BYTES))
        statistics = _append_slabs(file, volume, values)
        file.seek(0)
        file.write(_record(replace(header, statistics=statistics)).tobytes())
        file.flush()
        os.fsync(file.fileno())


def _append_slabs(file: BinaryIO, volume: xr.DataArray, values: Any) -> tuple[float, float, float, float]:
    """Write the voxels; return their dmin, dmax, dmean and rms (which is the deviation from the mean)."""
    running = RunningStatistics()

    def read(number: int) -> Array:
        planes = slice(SLAB * number, SLAB * (number + 1))
        return np.ascontiguousarray(volume.isel(z=planes).values if values is None else values[planes], dtype="<f4")

    def take_in(number: int, slab: Array) -> None:
        _check_finite(slab, SLAB * number)
        running.add(slab)

    # While a slab is written, the next one is read, this one is counted, and the one before goes to the disk.
    with ThreadPoolExecutor(1, thread_name_prefix="emres-count") as counting, _Flushing(file) as flushing:
        for number, slab in enumerate(read_ahead(read, -(-volume.sizes["z"] // SLAB), ahead=1)):
            counted = counting.submit(take_in, number, slab)
            file.write(slab.data)
            flushing.start()
            counted.result()
    found = running.result()
    return found.minimum, found.maximum, found.mean, found.std


class _Flushing:
    """Bring what is written so far to the disk meanwhile, so that little is left for the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="emres-flush")
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=True)
        if kind is None and self._last is not None:
            self._last.result()

    def start(self) -> None:
        """Begin, unless the last time is not over yet."""
        if self._last is not None:
            if not self._last.done():
                return
            self._last.result()  # the system tells of a failure once: the fsync at the end would not hear of it
        self._file.flush()
        self._last = self._pool.submit(os.fsync, self._file.fileno())


def _check_finite(slab: Array, start: int) -> None:
    good = np.isfinite(slab)
    if not good.all():
        z, y, x = (int(i) for i in np.argwhere(~good)[0])
        raise MapError(
            "a volume to be written has voxels that are not finite",
            got=f"{slab[z, y, x]} at {(start + z, y, x)} (z, y, x)",
            expected="numbers",
        )


def _output_header(volume: xr.DataArray, header: MapHeader | None, labels: Sequence[str]) -> MapHeader:
    grid = grid_of(volume)
    if min(grid.shape) == 1:
        raise UsageError("an image is to be written as a map", got=f"shape {grid.shape}", expected="3 dimensions")
    if header is None and "mrc_header" in volume.attrs:
        header = MapHeader.from_attrs(volume.attrs["mrc_header"])
    fits = header is not None and header.grid.matches(grid)
    kept = _canonical(header) if header is not None and fits else _header_of_grid(grid)
    return replace(kept, labels=_joined_labels(header.labels if header else (), labels))


def _header_of_grid(grid: Grid) -> MapHeader:
    nz, ny, nx = grid.shape
    length_z, length_y, length_x = grid.extent
    z, y, x = grid.origin
    return MapHeader(
        shape=(nx, ny, nz),
        mode=2,
        byte_order="<",
        nstart=(0, 0, 0),
        sampling=(nx, ny, nz),
        cell=(length_x, length_y, length_z),
        angles=(90.0, 90.0, 90.0),
        axes=(1, 2, 3),
        origin=(x, y, z),
        ispg=1,
        nsymbt=0,
        nversion=VERSION,
        exttyp="",
        machine_stamp=LITTLE_ENDIAN,
        statistics=(0.0, 0.0, 0.0, 0.0),
        labels=(),
    )


def _canonical(header: MapHeader) -> MapHeader:
    """Return the header of the same map stored as float32 in z, y, x."""
    nz, ny, nx = header.grid.shape
    return replace(
        header,
        shape=(nx, ny, nz),
        mode=2,
        byte_order="<",
        nstart=header.nstart_xyz,
        axes=(1, 2, 3),
        ispg=header.ispg if 1 <= header.ispg <= 230 else 1,
        nsymbt=0,
        nversion=VERSION,
        exttyp="",
        machine_stamp=LITTLE_ENDIAN,
        unsigned_bytes=False,
    )


def _joined_labels(old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    new = list(new)[:LABELS]
    return (*list(old)[: LABELS - len(new)], *new)


def _record(header: MapHeader) -> Any:
    record = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
    groups = {
        ("nx", "ny", "nz"): header.shape,
        ("nxstart", "nystart", "nzstart"): header.nstart,
        ("mx", "my", "mz"): header.sampling,
        ("mapc", "mapr", "maps"): header.axes,
        ("dmin", "dmax", "dmean", "rms"): header.statistics,
        ("mode", "ispg", "nsymbt", "nversion"): (header.mode, header.ispg, header.nsymbt, header.nversion),
    }
    for fields, values in groups.items():
        for field, value in zip(fields, values, strict=True):
            record[field] = value
    record["cella"], record["cellb"], record["origin"] = header.cell, header.angles, header.origin
    record["map"] = b"MAP "
    record["machst"] = np.frombuffer(bytes.fromhex(header.machine_stamp), np.uint8)
    record["nlabl"] = len(header.labels)
    for index, label in enumerate(header.labels):
        record["label"][index] = label.encode("ascii", "replace")[:LABEL_BYTES].ljust(LABEL_BYTES)
    return record
