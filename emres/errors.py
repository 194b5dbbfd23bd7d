"""What goes wrong, told so that it can be put right: what, got, expected, cure."""

from __future__ import annotations

from typing import Any


class EmresError(Exception):
    """An error that a user can act on.

    Parameters
    ----------
    what : str
        What is wrong, in one clause, naming the file, entry or option.
    got, expected : str, optional
        The value that was met and the one that would have done.
    cure : str, optional
        What to do about it, as a sentence or a command.

    Examples
    --------
    >>> print(EmresError("emd_1.map has no voxel size", got="0 Å", expected="a positive one",
    ...                  cure="pass --voxel-size"))
    emd_1.map has no voxel size: got 0 Å, expected a positive one; pass --voxel-size
    """

    exit_code = 1

    def __init__(
        self, what: str, *, got: str | None = None, expected: str | None = None, cure: str | None = None
    ) -> None:
        self.what, self.got, self.expected, self.cure = what, got, expected, cure
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        facts = [f"{word} {value}" for word, value in (("got", self.got), ("expected", self.expected)) if value]
        sentence = f"{self.what}: {', '.join(facts)}" if facts else self.what
        return f"{sentence}; {self.cure}" if self.cure else sentence

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross process borders (Dask workers); keyword-only arguments do not survive the default.
        return _rebuild, (type(self), self.what, self.got, self.expected, self.cure)


def _rebuild(kind: type[EmresError], what: str, got: str | None, expected: str | None, cure: str | None) -> EmresError:
    return kind(what, got=got, expected=expected, cure=cure)


class UsageError(EmresError):
    """The call itself is wrong: an option, a name, a combination."""

    exit_code = 2


class MapError(EmresError):
    """A map (file or array) that cannot be used: truncated, not a map, no voxel size, NaN, constant."""


class ArchiveError(EmresError):
    """The archive cannot give what was asked: unknown or obsolete entry, no network, server errors."""


class IntegrityError(EmresError):
    """Bytes that are not what they should be: checksum, size, weights hash."""


class StoreError(EmresError):
    """A store that cannot be read or written: read-only, disk full, written by a newer version."""


class BusyError(StoreError):
    """Another run is at it just now."""


class FullDiskError(StoreError):
    """No room is left on a disk, or in a quota."""


class ModelError(EmresError):
    """A model that cannot be opened or does not fit the input."""
