"""What every writer shares: disk errors told in words, and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from emres.errors import BusyError, FullDiskError, StoreError

_CURES = {
    errno.ENOSPC: ("the disk is full", "free some space and run the same command again: it goes on where it stopped"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run the same command again"),
    errno.EROFS: ("the file system is read-only", "choose a folder that can be written"),
    errno.EACCES: ("permission denied", "choose a folder you may write, or ask its owner"),
    errno.EPERM: ("permission denied", "choose a folder you may write, or ask its owner"),
    errno.EEXIST: ("a file of that name is in the way", "choose another path"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another path"),
}

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def disk_errors(path: Path | str) -> Iterator[None]:
    """Turn the operating system's errors of writing into a :class:`StoreError` that names the path.

    Raises
    ------
    FullDiskError
        Disk full, quota.
    StoreError
        Read-only, no permission. Other errors pass unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _CURES:
            raise
        what, cure = _CURES[error.errno]
        kind = FullDiskError if error.errno in FULL else StoreError
        raise kind(f"{path} cannot be written: {what}", cure=cure) from error


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Keep other runs from writing ``path`` meanwhile, by a locked file beside it.

    Raises
    ------
    BusyError
        If another run is writing it.
    """
    lock = path.with_name(f"{path.name}.lock")
    descriptor = open_locked(lock)
    try:
        yield
    finally:
        # Removed while it is still held: whoever waits at the old file finds that it is not the one any more.
        with suppress(OSError):
            lock.unlink()
        os.close(descriptor)


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; what is there afterwards takes its place, unless an error came between.

    Raises
    ------
    StoreError
        If the folder cannot be made or written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with disk_errors(path):
        _check_takes_files(part, path)
        try:
            yield part
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def _check_takes_files(part: Path, path: Path) -> None:
    """Make the folder of a file, and see that it takes one: some, such as /proc, do not and say so oddly."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        part.unlink()
    except FileNotFoundError as error:
        raise StoreError(
            f"{path} cannot be written: its folder takes no files", cure="choose another folder"
        ) from error


def move_into_place(source: Path, target: Path) -> None:
    """Replace the folder ``target`` by ``source``, both on one file system; what is seen is always whole.

    Between the old one and the new one there is none for an instant. If the new one cannot come, the old one stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        os.replace(source, target)
        return
    retired = source.with_name(f"{source.name}.old")
    shutil.rmtree(retired, ignore_errors=True)
    os.replace(target, retired)
    try:
        os.replace(source, target)
    except OSError:
        os.replace(retired, target)
        raise
    shutil.rmtree(retired, ignore_errors=True)


def open_locked(path: Path) -> int:
    """Open a file for reading and appending, locked against every other run; return its descriptor.

    Raises
    ------
    BusyError
        If another run holds it.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        try:
            _lock(descriptor, path)
            # Between open and lock another process may have finished and moved the file away: then it is not ours.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BusyError(f"{path} is being written by another run", cure="wait for it, then run again") from error
    except OSError:
        return  # Some network file systems have no locks; a checksum, where there is one, is then what guards it.
