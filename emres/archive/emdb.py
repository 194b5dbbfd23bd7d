"""EMDB: where a mirror keeps things, what it knows about an entry, and which entries there are."""

from __future__ import annotations

import csv
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from emres.archive.documents import LARGEST_DOCUMENT, merge_holdings, parse_entry_json, parse_entry_xml
from emres.archive.download import fetch_bytes
from emres.archive.entry import Entry, header_path, parse_emdb_id
from emres.archive.listing import load_list
from emres.archive.local import NotFoundError, local_path
from emres.archive.manners import Patience
from emres.errors import ArchiveError, UsageError

log = logging.getLogger(__name__)

DEFAULT_MIRROR = "https://ftp.ebi.ac.uk/pub/databases/emdb/"
DEFAULT_API = "https://www.ebi.ac.uk/emdb/api"
HOLDINGS = "status/latest/emdb_released_holdings.json"
STATUS = "status/latest/emdb_status.json"

_PATIENCE = Patience()
_PAGE = 1000
_UNAVAILABLE = {
    "HOLD": "on hold",
    "HOLD8W": "on hold",
    "HPUB": "on hold until publication",
    "WDRN": "withdrawn",
    "OBS": "obsolete",
}


@dataclass(frozen=True)
class Mirror:
    """A copy of the archive, of the whole or of a few entries. Use :meth:`at`.

    Parameters
    ----------
    root : str
        URL (https, http, file) or folder that holds ``structures/`` and, if it can, ``status/``.
    api : str, optional
        URL of the search interface that goes with it; None: there is none.
    """

    root: str
    api: str | None = None

    @classmethod
    def at(cls, location: str | Path | None = None, *, api: str | None = None) -> Mirror:
        """Return the mirror at a place.

        Parameters
        ----------
        location : str or Path, optional
            Default: ``EMRES_MIRROR``, else the archive itself.
        api : str, optional
            Default: ``EMRES_API``; else, for mirrors of the network, EMDB's own.

        Raises
        ------
        UsageError
            If it is neither a web address nor a path.
        ArchiveError
            If it is a folder that is not there or no mirror.
        """
        location = location or os.environ.get("EMRES_MIRROR") or DEFAULT_MIRROR
        api = api or os.environ.get("EMRES_API")
        folder = local_path(location)
        if folder is None:
            return cls(str(location), api or DEFAULT_API)
        if not (folder / "structures").is_dir():
            raise ArchiveError(
                f"{folder} is not a mirror of EMDB",
                got="no folder structures/ in it",
                expected="structures/EMD-6824/map/..., as in the archive",
            )
        return cls(str(folder.resolve()), api)

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return local_path(self.root) is not None

    def url(self, path: str) -> str:
        """Return where a file of the archive lies here: a URL, or the path in a folder.

        Parameters
        ----------
        path : str
            Relative to the root, such as ``MapFile.path``.
        """
        folder = local_path(self.root)
        return f"{self.root.rstrip('/')}/{path}" if folder is None else str(folder / path)


def embedded_mirror() -> Mirror:
    """Return the small archive that ships with emres: five real maps, to try everything on without a network."""
    return Mirror(str(resources.files("emres.archive") / "embedded"))


def fetch_entry(mirror: Mirror, emdb_id: str, *, patience: Patience = _PATIENCE) -> Entry:
    """Return what a mirror knows about an entry: its header, with the checksums of the holdings.

    Parameters
    ----------
    mirror : Mirror
    emdb_id : str
        In any spelling that :func:`~emres.archive.entry.parse_emdb_id` understands.
    patience : Patience

    Raises
    ------
    UsageError
        If it is not an EMDB id.
    ArchiveError
        Unknown, obsolete (the error names what superseded it), on hold or withdrawn; no network.
    """
    emdb_id = parse_emdb_id(emdb_id)
    try:
        document = fetch_bytes(mirror.url(header_path(emdb_id)), limit=LARGEST_DOCUMENT, patience=patience)
        entry = parse_entry_xml(document)
    except NotFoundError as error:
        found = _from_api(mirror, emdb_id, patience)
        if found is None:
            raise _absence(mirror, emdb_id, patience) from error
        entry = found
    if entry.emdb_id != emdb_id:
        raise ArchiveError(
            f"the mirror gives another entry for {emdb_id}",
            got=entry.emdb_id,
            expected=emdb_id,
            cure="use another mirror (--mirror)",
        )
    if entry.status in _UNAVAILABLE:
        raise _unavailable(emdb_id, entry.status, entry.superseded_by or _successors(mirror, emdb_id, patience))
    return merge_holdings(entry, _listed(mirror, HOLDINGS, emdb_id, patience))


def all_ids(mirror: Mirror, *, patience: Patience = _PATIENCE) -> list[str]:
    """Return the ids of all released entries of a mirror, by number.

    Raises
    ------
    ArchiveError
        If the mirror has no list of its holdings and is not a folder that could be looked into.
    """
    folder = local_path(mirror.root)
    try:
        if (holdings := load_list(mirror.url(HOLDINGS), patience)) is not None:
            return holdings.ids()
    except ArchiveError as error:
        if folder is None:
            raise
        log.warning("%s: %s", mirror.url(HOLDINGS), error)
    if folder is None:
        raise ArchiveError(
            f"{mirror.root} does not list its entries",
            expected=HOLDINGS,
            cure="name the entries, or use another mirror (--mirror)",
        )
    found = (path.name for path in (folder / "structures").glob("EMD-*"))
    return sorted((name for name in found if re.fullmatch(r"EMD-\d{4,6}", name)), key=lambda name: int(name[4:]))


def search(
    query: str, mirror: Mirror | None = None, *, limit: int | None = None, patience: Patience = _PATIENCE
) -> list[str]:
    """Return the ids of the released entries that a query finds.

    Parameters
    ----------
    query : str
        In EMDB's language: ``resolution:[2 TO 3} AND half_map_filename:[* TO *]``.
    mirror : Mirror, optional
        Default: :meth:`Mirror.at` without arguments.
    limit : int, optional
        Stop after so many.
    patience : Patience

    Raises
    ------
    UsageError
        Empty query, or the mirror has no search interface.
    ArchiveError
        The query was refused; no network.
    """
    mirror = mirror or Mirror.at()
    if not query.strip():
        raise UsageError("the query is empty", expected="such as resolution:[2 TO 3]")
    if mirror.api is None:
        raise UsageError(
            f"{mirror.root} is a folder and cannot be searched",
            got=f"the query {query}",
            cure="set EMRES_API to a search interface, name the entries, or take all of them (--all)",
        )
    # The index also holds records that are not EMDB's, and entries that are not released.
    full = quote(f'({query}) AND database:EMDB AND current_status:"REL"', safe="")
    found: dict[str, None] = {}
    page = 1
    while limit is None or len(found) < limit:
        fields = {"rows": _PAGE, "page": page, "wt": "csv", "fl": "emdb_id", "download": "false"}
        names = _page(f"{mirror.api}/search/{full}?{urlencode(fields)}", patience)
        fresh = dict.fromkeys(name for name in names if name not in found)
        # How many rows a page may have is the server's decision: only one without news is the last.
        if not fresh:
            break
        found |= fresh
        page += 1
    return list(found)[:limit]


def _page(url: str, patience: Patience) -> list[str]:
    try:
        text = fetch_bytes(url, patience=patience).decode("utf-8", "replace")
    except NotFoundError:
        return []
    rows = [row for row in csv.reader(text.splitlines()) if row]
    column = rows[0].index("emdb_id") if rows and "emdb_id" in rows[0] else 0
    names = [row[column].strip() for row in rows if len(row) > column and row[column] != "emdb_id"]
    ids = [name for name in names if re.fullmatch(r"EMD-\d{4,6}", name)]
    if names and not ids:
        raise ArchiveError(
            "the search interface answered with something else",
            got=names[0][:60],
            expected="a column of EMDB ids",
            cure="check EMRES_API",
        )
    return ids


def _from_api(mirror: Mirror, emdb_id: str, patience: Patience) -> Entry | None:
    if mirror.api is None:
        return None
    try:
        # A second opinion, not worth waiting for.
        once = replace(patience, tries=1)
        document = fetch_bytes(f"{mirror.api}/entry/{emdb_id}", limit=LARGEST_DOCUMENT, patience=once)
        return parse_entry_json(json.loads(document))
    except (ArchiveError, ValueError, RecursionError) as error:
        log.info("the API knows nothing of %s: %s", emdb_id, error)
        return None


def _listed(mirror: Mirror, path: str, emdb_id: str, patience: Patience) -> Mapping[str, Any]:
    """Return what a list says of an entry; nothing, with a warning, where the list cannot be had."""
    try:
        listing = load_list(mirror.url(path), patience)
        return (listing.record(emdb_id) if listing else None) or {}
    except ArchiveError as error:
        log.warning("%s", error)
        return {}


def _successors(mirror: Mirror, emdb_id: str, patience: Patience) -> tuple[str, ...]:
    return tuple(re.findall(r"EMD-\d{4,6}", str(_listed(mirror, STATUS, emdb_id, patience).get("superseded_by", ""))))


def _absence(mirror: Mirror, emdb_id: str, patience: Patience) -> ArchiveError:
    """Return why a mirror may have no header of an entry."""
    code = str(_listed(mirror, STATUS, emdb_id, patience).get("status", ""))
    if code in _UNAVAILABLE:
        return _unavailable(emdb_id, code, _successors(mirror, emdb_id, patience))
    if code == "REL":
        return ArchiveError(f"{mirror.root} lacks the released entry {emdb_id}", cure="use another mirror (--mirror)")
    if code:
        return ArchiveError(
            f"{emdb_id} is not released yet", got=f"status {code}", expected="REL", cure="try again after its release"
        )
    return ArchiveError(f"there is no entry {emdb_id} in {mirror.root}", cure="check the number")


def _unavailable(emdb_id: str, code: str, successors: tuple[str, ...]) -> ArchiveError:
    cure = f"use {', '.join(successors)}, which superseded it" if successors else "choose another entry"
    return ArchiveError(
        f"{emdb_id} cannot be fetched: it is {_UNAVAILABLE[code]}", got=f"status {code}", expected="REL", cure=cure
    )
