"""Plain, gzip and bzip2 files as one stream of bytes, read once from front to back, ahead of whoever needs them.

What a file is, its first bytes say, not its name. Rules on what follows the content:

* gzip: several members are one content; zero bytes after the last are padding; anything else is refused.
* bzip2: several streams are one content; what follows the last is ignored, as bzip2 does.
"""

from __future__ import annotations

import bz2
import gzip
import os
import stat
import zlib
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from emres.errors import MapError

try:
    from isal import igzip, isal_zlib

    GzipFile: Any = igzip.GzipFile
    GZIP_LEVEL = 2
    _CORRUPT: Any = (OSError, EOFError, zlib.error, isal_zlib.error)
except ImportError:  # a platform without isal wheels: the same, three times slower
    GzipFile = gzip.GzipFile
    GZIP_LEVEL = 4
    _CORRUPT = (OSError, EOFError, zlib.error)

T = TypeVar("T")

READ_BYTES = 1 << 20
MAGIC = {b"\x1f\x8b\x08": "gzip", b"BZh": "bzip2"}
# No deflate stream expands more than 1032 times. bzip2 has no such bound.
MOST_EXPANSION = {"gzip": 1032}


class ByteStream:
    """The content of a file, decompressed on the way.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    kind : {"plain", "gzip", "bzip2"}
    capacity : int or None
        The content has at most so many bytes (plain: exactly); None if that is not known.

    Raises
    ------
    MapError
        If there is no such file, it is no file, it is empty, or may not be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file, stored, magic = _open_regular(path)
        self.kind = MAGIC.get(magic, "plain")
        self.capacity = None if self.kind == "bzip2" else stored * MOST_EXPANSION.get(self.kind, 1)
        self._content = self._decompressed()

    def _decompressed(self) -> Any:
        if self.kind == "gzip":
            return GzipFile(fileobj=self._file, mode="rb")
        return bz2.BZ2File(self._file) if self.kind == "bzip2" else self._file

    def fill(self, view: memoryview) -> int:
        """Read until the view is full or the content ends; return the bytes read.

        Raises
        ------
        MapError
            If the compressed data are cut short or corrupt.
        """
        done = 0
        try:
            while done < len(view):
                count = self._content.readinto(view[done : done + READ_BYTES])
                if not count:
                    break
                done += count
        except _CORRUPT as error:
            raise MapError(
                f"{self.path} is cut short or corrupt",
                got=f"{type(error).__name__}: {error}",
                expected=f"a whole {self.kind} file",
                cure="download or copy it again",
            ) from error
        return done

    def skip(self, count: int) -> int:
        """Pass over ``count`` bytes; return how many there were."""
        scratch = memoryview(bytearray(min(count, READ_BYTES)))
        done = 0
        while done < count:
            step = self.fill(scratch[: count - done])
            if not step:
                break
            done += step
        return done

    def close(self) -> None:
        """Close the file."""
        self._content.close()
        self._file.close()


def _open_regular(path: Path) -> tuple[BinaryIO, int, bytes]:
    """Return the open file, its size, and its first bytes."""
    try:
        status = path.stat()
        # Before opening: a pipe would wait for its writer for ever.
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a device or pipe"
            raise MapError(f"{path} is not a file", got=kind, expected="an MRC/CCP4 map", cure="name the map itself")
        if not status.st_size:
            raise MapError(f"{path} is empty", got="0 bytes", expected="an MRC/CCP4 map", cure="download it again")
        file = path.open("rb")
        return file, status.st_size, file.peek(3)[:3]
    except FileNotFoundError as error:
        raise MapError(f"there is no file {path}", cure="check the name") from error
    except PermissionError as error:
        raise MapError(f"{path} may not be read", got="permission denied", cure="ask for read permission") from error
    except (OSError, ValueError) as error:
        raise MapError(f"{path} cannot be opened", got=str(error), cure="check the path and the disk") from error


def read_ahead(read: Callable[[int], T], count: int, ahead: int) -> Generator[T]:
    """Yield ``read(0) .. read(count - 1)``, called in this order in one thread up to ``ahead`` calls early.

    An error in ``read`` is raised where its result would have been yielded. Closing the iterator stops the thread.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="emres-read-ahead")
    try:
        pending = deque(pool.submit(read, k) for k in range(min(ahead, count)))
        for k in range(count):
            value = pending.popleft().result()
            if k + ahead < count:
                pending.append(pool.submit(read, k + ahead))
            yield value
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def compress_gzip(source: Path, target: Path) -> None:
    """Write ``target`` as the gzip of ``source``; the same content gives the same bytes."""
    with source.open("rb") as plain, target.open("xb") as stored:
        with GzipFile("", "wb", compresslevel=GZIP_LEVEL, fileobj=stored, mtime=0) as packed:
            while piece := plain.read(READ_BYTES):
                packed.write(piece)
        stored.flush()
        os.fsync(stored.fileno())
