"""What every writer shares: disk errors told in words, and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emres.errors import StoreError

_CURES = {
    errno.ENOSPC: ("the disk is full", "free some space and run the same command again: it goes on where it stopped"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run the same command again"),
    errno.EROFS: ("the file system is read-only", "choose a folder that can be written"),
    errno.EACCES: ("permission denied", "choose a folder you may write, or ask its owner"),
    errno.EPERM: ("permission denied", "choose a folder you may write, or ask its owner"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another path"),
}


@contextmanager
def disk_errors(path: Path | str) -> Iterator[None]:
    """Turn the operating system's errors of writing into a :class:`StoreError` that names the path.

    Raises
    ------
    StoreError
        Disk full, quota, read-only, no permission. Other errors pass unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _CURES:
            raise
        what, cure = _CURES[error.errno]
        raise StoreError(f"{path} cannot be written: {what}", cure=cure) from error


def move_into_place(source: Path, target: Path) -> None:
    """Replace the folder ``target`` by ``source``, both on one file system; readers see the old or the new one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        retired = source.with_name(f"{source.name}.old")
        shutil.rmtree(retired, ignore_errors=True)
        os.replace(target, retired)
        os.replace(source, target)
        shutil.rmtree(retired, ignore_errors=True)
    else:
        os.replace(source, target)
