"""A mirror of EMDB made of given maps: what tests fetch from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from emres.archive.emdb import Mirror
from emres.archive.entry import Entry
from emres.archive.layout import add_entry, write_lists
from tests.archive.hostile import Server, start


def build_mirror(
    root: Path,
    maps: Mapping[str, Path | Mapping[str, Path]],
    *,
    facts: Iterable[Entry] = (),
    others: Iterable[Entry] = (),
    lists: bool = True,
) -> Mirror:
    """Write a mirror with the archive's layout.

    Parameters
    ----------
    root : Path
        Empty or missing folder.
    maps : mapping
        Files by entry: the primary map's path, or paths by kind (``map``, ``half_map_1``, ``mask``, ...). Maps are
        gzipped, masks are not, as in the archive, whatever the given file is.
    facts : iterable of Entry
        What is known of an entry (its files do not matter); without it: a neutral title, no resolution.
    others : iterable of Entry
        Records that the status list knows but that have no files: obsolete, on hold.
    lists : bool
        Whether the mirror has holdings and status.
    """
    known = {entry.emdb_id: entry for entry in facts}
    entries = []
    for emdb_id, given in maps.items():
        neutral = Entry(emdb_id, f"{emdb_id}, a test entry", release_date="2024-01-03", update_date="2024-05-01")
        files = given if isinstance(given, Mapping) else {"map": given}
        entries.append(add_entry(root, known.get(emdb_id, neutral), files))
    (root / "structures").mkdir(parents=True, exist_ok=True)
    if lists:
        write_lists(root, [*entries, *others])
    return Mirror.at(root)


@contextmanager
def search_interface(query: str, found: Iterable[str]) -> Iterator[str]:
    """Serve EMDB's search interface for one query; yield its address, for ``EMRES_API`` or ``--api``."""
    book = Server()
    whole = quote(f'({query}) AND database:EMDB AND current_status:"REL"', safe="")
    server = start(book)
    book.put(f"api/search/{whole}", "\n".join(["emdb_id", *found, ""]).encode())
    try:
        yield book.url("api")
    finally:
        server.shutdown()
