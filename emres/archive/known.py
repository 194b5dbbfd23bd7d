"""An entry group of which what is told of its maps is read once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from emres.archive.store import EntryGroup


@dataclass(frozen=True)
class KnownGroup(EntryGroup):
    """An entry group for a piece of work that takes its maps as they are when it first asks; not for its results.

    A piece of work asks a dozen times for grid, statistics and header: to open, read and parse a file each time is as
    much as a small map's net.
    """

    _read: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False, compare=False)

    def attributes(self, kind: str = "") -> dict[str, Any]:
        """Return emres' own attributes of the entry, or of one kind in it, as they were when first asked for.

        Raises
        ------
        StoreError
            As :meth:`EntryGroup.attributes`.
        """
        if kind not in self._read:
            self._read[kind] = super().attributes(kind)
        return dict(self._read[kind])
