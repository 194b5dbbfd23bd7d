"""How a store and its entries look in a notebook: small HTML tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import islice

from emres.archive.store import EntryGroup, Store
from emres.errors import StoreError

MOST_ROWS = 50  # a store may hold the whole archive

_pictures: list[Callable[[EntryGroup], str]] = []


def illustrate_with(picture: Callable[[EntryGroup], str]) -> None:
    """Show a picture below the table of an entry: ``picture(group)`` returns HTML. The archive itself draws nothing."""
    _pictures[:] = [picture]


def entry_html(group: EntryGroup) -> str:
    """Return the kinds of an entry as a table: voxels, Å/voxel, median of the resolution; and its picture."""
    if not group.exists():
        return _table(f"{group.name}: no such entry in {group.path.parent}", (), ())
    title = group.attributes()["entry"].get("title")
    rows = (_kind_row(group, kind) for kind in group.kinds())
    heading = f"{group.name}: {title}" if title else group.name
    table = _table(heading, ("kind", "voxels (z y x)", "Å/voxel", "median Å"), rows)
    pictures = "".join(picture(group) for picture in _pictures)
    return f"<div>{table}{pictures}</div>" if pictures else table


def store_html(store: Store) -> str:
    """Return the first entries of a store as a table."""
    groups = list(islice(store, MOST_ROWS + 1))
    more = ", the first of them" if len(groups) > MOST_ROWS else ""
    rows = (_entry_row(group) for group in groups[:MOST_ROWS])
    columns = ("entry", "voxels (z y x)", "Å/voxel", "median Å", "kinds")
    return _table(f"{store.path}: {len(groups[:MOST_ROWS])} entries{more}", columns, rows)


def _entry_row(group: EntryGroup) -> list[str]:
    try:
        kinds = group.kinds()
        voxels, size = _kind_row(group, "map")[1:3] if "map" in kinds else ("", "")
        medians = [_median(group, kind) for kind in group.results()]
        return [group.name, voxels, size, ", ".join(filter(None, medians)), ", ".join(kinds)]
    except StoreError as error:  # one broken entry is told in its row; the others are shown
        return [group.name, "", "", "", str(error)]


def _kind_row(group: EntryGroup, kind: str) -> list[str]:
    grid = group.grid(kind)
    return [kind, " × ".join(map(str, grid.shape)), f"{grid.mean_voxel_size:.3f}", _median(group, kind)]


def _median(group: EntryGroup, kind: str) -> str:
    median = group.attributes(kind).get("median")
    return "" if median is None else f"{median:.2f}"


def _table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
