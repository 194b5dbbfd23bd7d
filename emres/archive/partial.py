"""A file under way: ``emd_6824.map.gz.part`` beside its target, kept over cuts and kills, moved when it is whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from emres.archive.disk import open_locked
from emres.errors import StoreError


@dataclass(frozen=True)
class Origin:
    """What the bytes of a partial file are the beginning of.

    Parameters
    ----------
    source : str
        URL or path.
    validator : str or None
        The server's strong ETag, or Last-Modified: the same validator means the same bytes.
    total : int or None
        Size in bytes.
    """

    source: str
    validator: str | None = None
    total: int | None = None


class Partial:
    """The beginning of a file, and where it comes from. Use :meth:`beside`; one process at a time.

    Parameters
    ----------
    target : Path
        Where the file will lie when it is whole.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.json.part")
        self._descriptor = -1
        self._md5, self._hashed = hashlib.md5(usedforsecurity=False), 0

    @classmethod
    @contextmanager
    def beside(cls, target: Path) -> Iterator[Self]:
        """Open, or go on with, the partial file of ``target``, locked against other processes.

        Raises
        ------
        StoreError
            If somebody else is writing it.
        """
        partial = cls(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial._descriptor = open_locked(partial.path)
        try:
            yield partial
        finally:
            if partial.size == 0:
                partial.discard()
                partial.path.unlink(missing_ok=True)
            os.close(partial._descriptor)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return os.fstat(self._descriptor).st_size

    @property
    def origin(self) -> Origin | None:
        """What the bytes so far are the beginning of, if that is known."""
        try:
            return Origin(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def resumable(self, source: str) -> bool:
        """Whether bytes from this very source are there and can be gone on with."""
        origin = self.origin
        return self.size > 0 and origin is not None and origin.source == source and origin.validator is not None

    def begin(self, origin: Origin) -> None:
        """Forget what is there and begin with the first byte of ``origin``.

        Raises
        ------
        StoreError
            If the disk has no room for it.
        """
        self.discard()
        free = shutil.disk_usage(self.path.parent).free
        if origin.total is not None and origin.total > free:
            raise StoreError(
                f"{self.target} does not fit on the disk",
                got=f"{free / 1e6:.1f} MB free",
                expected=f"{origin.total / 1e6:.1f} MB",
                cure="free some space or choose another folder",
            )
        self._note.write_text(json.dumps(asdict(origin)), encoding="utf-8")

    def append(self, data: bytes) -> None:
        """Write at the end, past every buffer of ours: a kill loses nothing."""
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]
        self._md5.update(data)  # while the network has us wait, not in one more reading of the file
        self._hashed += len(data)

    @property
    def md5(self) -> str | None:
        """Checksum of the bytes so far, hexadecimal; None if some were there before."""
        return self._md5.hexdigest() if self._hashed == self.size else None

    def discard(self) -> None:
        """Forget the bytes."""
        os.ftruncate(self._descriptor, 0)
        self._md5, self._hashed = hashlib.md5(usedforsecurity=False), 0
        self._note.unlink(missing_ok=True)

    def commit(self) -> None:
        """Move the file to its target."""
        os.replace(self.path, self.target)
        self.is_whole()

    def is_whole(self) -> None:
        """Remove what is noted of the bytes: the file has come. A kill just before leaves it to the next try."""
        self._note.unlink(missing_ok=True)
