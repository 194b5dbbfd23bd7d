"""Which entry of a store a run is at just now, so that several runs share the work, and none undoes another's."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from emres.archive.disk import disk_errors, open_locked
from emres.archive.store import Store
from emres.errors import BusyError, StoreError

FOLDER = ".batch"  # of a store: what runs know of each other


@contextmanager
def claimed(store: Store, name: str) -> Iterator[None]:
    """Claim an entry; whoever dies leaves no claim.

    Parameters
    ----------
    store : Store
    name : str
        Of an entry group, or of one to come.

    Raises
    ------
    BusyError
        If another run is at it; it says which. A store that cannot be written needs no claims.
    """
    path = store.path / FOLDER / f"{name}.lock"
    descriptor = _opened(path, name)
    try:
        yield
    finally:
        if descriptor is not None:
            # Removed while it is still held: whoever waits at the old file finds that it is not the one any more.
            with suppress(OSError):
                path.unlink()
            os.close(descriptor)


def _opened(path: Path, name: str) -> int | None:
    try:
        with disk_errors(path):
            descriptor = _locked(path)
    except BusyError:
        raise BusyError(
            f"{name} is being worked on by another run",
            got=_holder(path),
            cure="wait for it: what it finishes is not done again",
        ) from None
    except StoreError:
        return None
    with suppress(OSError):  # who it is helps a reader; the lock is what counts
        os.ftruncate(descriptor, 0)
        os.write(descriptor, whoami().encode())
    return descriptor


def _locked(path: Path) -> int:
    while True:
        with suppress(FileNotFoundError):
            return open_locked(path)
        # The first claim of a run, or another run that ends just now has removed the folder.
        path.parent.mkdir(parents=True, exist_ok=True)


def whoami() -> str:
    """Return how a run is named to others: its process and machine."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def _holder(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace") or "one that does not say who it is"
    return "one that has just ended"


@contextmanager
def leaving_no_folder(store: Store) -> Iterator[None]:
    """Remove the folder of claims in the end if nothing is in it, and a store that came to nothing."""
    new = not store.path.exists()
    try:
        yield
    finally:
        with suppress(OSError):
            (store.path / FOLDER).rmdir()
            if new:
                store.path.rmdir()
