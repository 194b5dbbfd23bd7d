"""The archive's weekly lists (holdings, status): one JSON object keyed by EMDB id, some 60,000 records, tens of MB.

A list is indexed, not parsed: the places of the keys are found in one pass over the bytes, and only the records that
are asked for are decoded. This also reads the list however its object may be wrapped.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emres.archive.download import fetch_bytes, fetch_if_changed
from emres.archive.local import NotFoundError, local_path
from emres.archive.manners import Patience
from emres.errors import ArchiveError

log = logging.getLogger(__name__)

#: Within so many seconds a list of the network is not asked for again; the archive changes once a week.
FRESH = 900.0
_LARGEST = 512 * 2**20
_KEY = re.compile(rb'"(EMD-[0-9]{4,6})"\s*:\s*\{')

_lock = threading.Lock()
_loaded: dict[str, tuple[object, Listing | None]] = {}


class Listing:
    """Records by EMDB id.

    Parameters
    ----------
    document : bytes
        JSON with, at any depth, keys ``EMD-...`` whose values are objects.

    Raises
    ------
    ArchiveError
        If it lists nothing.

    Examples
    --------
    >>> Listing(b'{"holdings": {"EMD-6824": {"entry_last_update": "2024-05-01"}}}').record("EMD-6824")
    {'entry_last_update': '2024-05-01'}
    """

    def __init__(self, document: bytes) -> None:
        self._document = document
        keys = list(_KEY.finditer(document))
        if not keys:
            raise ArchiveError("this is no list of the archive", got=repr(document[:40]), expected='{"EMD-6824": ...}')
        ends = [key.start() for key in keys[1:]] + [len(document)]
        self._spans = {key[1].decode(): (key.end() - 1, end) for key, end in zip(keys, ends, strict=True)}

    def ids(self) -> list[str]:
        """Return every id, by number."""
        return sorted(self._spans, key=lambda emdb_id: int(emdb_id[4:]))

    def record(self, emdb_id: str) -> Mapping[str, Any] | None:
        """Return what is listed of an entry, or None.

        Raises
        ------
        ArchiveError
            If the record is damaged.
        """
        if emdb_id not in self._spans:
            return None
        start, end = self._spans[emdb_id]
        try:
            record, _ = json.JSONDecoder().raw_decode(self._document[start:end].decode("utf-8", "replace"))
        except (ValueError, RecursionError) as error:
            raise ArchiveError(
                f"the archive's list is damaged at {emdb_id}",
                got=type(error).__name__,
                cure="fetch from another mirror (--mirror)",
            ) from error
        return record if isinstance(record, Mapping) else None


def load_list(source: str, patience: Patience) -> Listing | None:
    """Return a list of the archive, read anew only if it may have changed.

    Lists of the network are kept in the cache folder and asked for only if they changed there.

    Parameters
    ----------
    source : str
        URL or path.
    patience : Patience

    Returns
    -------
    Listing or None
        None, with a warning, if this mirror has no such list.

    Raises
    ------
    ArchiveError
        No network, server errors, something else under that name.
    """
    with _lock:
        stamp, held = _stamp(source), _loaded.get(source)
        if held is not None and held[0] == stamp:
            return held[1]
        listing = None
        try:
            listing = _read(source, patience)
        except NotFoundError as error:
            log.warning("a mirror without list: %s", error)
        _loaded[source] = stamp, listing
        return listing


def cache_folder() -> Path:
    """Return the folder for what may be kept and may be lost: ``EMRES_CACHE``, or the system's usual place."""
    if chosen := os.environ.get("EMRES_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "emres"


def _stamp(source: str) -> object:
    path = local_path(source)
    if path is None:
        return int(time.monotonic() // FRESH)
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _read(source: str, patience: Patience) -> Listing:
    if local_path(source) is not None:
        return Listing(fetch_bytes(source, limit=_LARGEST))
    kept = cache_folder() / f"{hashlib.sha256(source.encode()).hexdigest()[:16]}-{source.rsplit('/', 1)[-1]}"
    validator, document = _kept(kept)
    try:
        changed = fetch_if_changed(source, validator, limit=_LARGEST, patience=patience)
        if changed is not None:
            listing = Listing(changed[0])
            _keep(kept, *changed)
            return listing
    except NotFoundError:
        raise
    except ArchiveError as error:
        if not document:
            raise
        log.warning("%s; using the list as it was when last fetched", error)
    return Listing(document)


def _kept(path: Path) -> tuple[str | None, bytes]:
    """Return a kept list and its validator, which is its first line: one file, so that they always fit."""
    try:
        validator, _, document = path.read_bytes().partition(b"\n")
    except OSError:
        return None, b""
    return (validator.decode("latin-1") or None) if document else None, document


def _keep(path: Path, document: bytes, validator: str | None) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{os.getpid()}.part")
        fresh.write_bytes((validator or "").encode("latin-1") + b"\n" + document)
        os.replace(fresh, path)
    except OSError as error:
        log.warning("the list cannot be kept in %s (%s): it will be fetched each time", path.parent, error)
