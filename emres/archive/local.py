"""Sources on this machine: paths and ``file://`` addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from emres.errors import ArchiveError, UsageError


class NotFoundError(ArchiveError):
    """The archive has nothing under this address."""


def local_path(source: str | Path) -> Path | None:
    """Return the path that a source is, or None if it is an ``https://`` or ``http://`` URL.

    Raises
    ------
    UsageError
        For any other scheme.

    Examples
    --------
    >>> local_path("file:///data/emdb").as_posix()
    '/data/emdb'
    >>> local_path("https://files.wwpdb.org/pub/emdb/") is None
    True
    """
    # One letter and a colon is a drive.
    if isinstance(source, Path) or not re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", source):
        return Path(source).expanduser()
    parts = urlsplit(source)
    if parts.scheme in ("http", "https") and parts.netloc:
        return None
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(url2pathname(parts.path))
    raise UsageError(
        "this address cannot be fetched from",
        got=source,
        expected="https://, http://, file:// or a path",
        cure="the archive retired plain ftp: write https://" if parts.scheme == "ftp" else None,
    )


def chunks_of(path: Path, size: int) -> Iterator[bytes]:
    """Yield a file's bytes, ``size`` at a time.

    Raises
    ------
    ArchiveError
        As :func:`reading`.
    """
    with reading(path), path.open("rb") as file:
        while chunk := file.read(size):
            yield chunk


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the operating system's errors of reading an archive into ours.

    Raises
    ------
    NotFoundError
        If there is no such file.
    ArchiveError
        If it cannot be read.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"there is no {path}", cure="check the entry's id and the mirror's path") from error
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read", got=error.strerror or str(error)) from error
