"""Records that are kept between runs: JSON files that say by a fingerprint what they are the answer to."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emres.archive.attributes import check_name
from emres.archive.disk import replaced_file


@dataclass(frozen=True)
class Kept:
    """A folder of records.

    Parameters
    ----------
    folder : Path
        Made when the first record is kept.
    """

    folder: Path

    def get(self, name: str, fingerprint: str) -> dict[str, Any] | None:
        """Return a record, or None where there is none, or it is damaged, or of another fingerprint."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(self._path(name).read_text(encoding="utf-8"))
            if found["fingerprint"] == fingerprint:
                return dict(found["record"])
        return None

    def put(self, name: str, fingerprint: str, record: Mapping[str, Any]) -> None:
        """Keep a record of JSON values, whole or not at all.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        text = json.dumps({"fingerprint": fingerprint, "record": plain(record)}, ensure_ascii=False)
        with replaced_file(self._path(name)) as part:
            part.write_text(text + "\n", encoding="utf-8")

    def get_or_make(self, name: str, fingerprint: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Return a record; it is made and kept if it is not there."""
        found = self.get(name, fingerprint)
        if found is None:
            found = plain(make())
            self.put(name, fingerprint, found)
        return found

    def _path(self, name: str) -> Path:
        return self.folder / f"{check_name(name, 'name of a record')}.json"


def plain(value: Any) -> Any:
    """Return JSON values as they come back from a file: tuples as lists, and None for what is no number.

    Examples
    --------
    >>> plain({"mae": float("nan"), "deciles": (1.0, 2.0)})
    {'mae': None, 'deciles': [1.0, 2.0]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
