"""A store after a batch -> one HTML page with a table of its entries, and the table as a file."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emres import __version__
from emres.archive.attributes import grid_from_attributes
from emres.archive.disk import replaced_file
from emres.archive.store import EntryGroup, Store
from emres.errors import EmresError, UsageError
from emres.run.batch_table import batch_rows, check_table, kind_of, typical_ratio, with_links, write_table
from emres.run.outcome import Report, no_report
from emres.volume.grid import make_volume

if TYPE_CHECKING:
    from emres.view.report.index import IndexRow

MOST_BYTES = 15_000_000  # of the page

_FIXED = 150_000  # bytes of the page that are no row
_FEWEST = 400  # bytes below which a picture shows nothing
_FINEST = 4000  # bytes beyond which a picture gains nothing
_DRAWN = 48  # voxels along the longest edge that are enough for a picture


def write_index(
    store: Path | str,
    output: Path | str,
    *,
    result: str | None = None,
    reports: Path | str | None = None,
    table: Path | str | None = None,
    thumbnails: bool = True,
    force: bool = False,
    report: Report = no_report,
) -> dict[str, Any]:
    """Write the page of a batch: a table of the entries of a store that sorts, filters, and opens without a network.

    Entries whose median lies far from what is reported stand on top (:func:`emres.run.batch_table.deviations`), then
    those that failed, with their reasons.

    Parameters
    ----------
    store : path
    output : path
        The page, ``index.html``.
    result : str, optional
        Which local resolution, as ``emres-small@0.2`` or ``fsc``; of every entry the newest by default.
    reports : path, optional
        Where the entries' own reports lie, ``<name>_report.html``; beside the page by default. Those that are there
        are linked.
    table : path, optional
        The table as a file too: ``.csv`` or ``.parquet``.
    thumbnails : bool
        Draw slices of every entry; they are drawn smaller the more there are, so that the page keeps to 15 MB.
    force : bool
        Replace files that are there.
    report : callable
        Told of every entry.

    Returns
    -------
    dict
        ``output``, ``bytes``, ``table``, ``entries``, ``outliers``, ``failed``, ``thumbnails``, ``seconds``.

    Raises
    ------
    UsageError
        If a file exists and may not be replaced, or the table is of another sort.
    StoreError
        If there is no such store, or a file cannot be written.
    """
    from emres.view.report.index import BatchShown, render_index

    start, output, store = time.perf_counter(), Path(output), Path(store)
    table = None if table is None else Path(table)
    for path in filter(None, (output, table)):
        if path.exists() and (path.is_dir() or not force):
            raise UsageError(f"{path} exists already", cure="pass --force to replace it, or another name to -o")
    if table is not None:
        check_table(table)
    report(store.name, "read", 0, 0)
    rows = with_links(batch_rows(store, result), output, Path(reports) if reports is not None else output.parent)
    if table is not None:
        write_table(rows, table)
    shown = _with_pictures(store, rows, result, report) if thumbnails else rows
    pictures = sum(bool(row.thumbnail) for row in shown)
    notes = _notes(thumbnails, pictures, shown)
    made = f"emres {__version__}, {dt.date.today().isoformat()}"
    page = render_index(BatchShown(store.resolve().name, shown, typical_ratio(rows), notes, made))
    with replaced_file(output) as part:
        part.write_text(page, encoding="utf-8")
    report(store.name, "done", 1, 1)
    return {
        "output": str(output),
        "bytes": output.stat().st_size,
        **({} if table is None else {"table": str(table)}),
        "entries": len(rows),
        "outliers": sum(row.status == "outlier" for row in rows),
        "failed": sum(row.status == "failed" for row in rows),
        "thumbnails": pictures,
        "seconds": round(time.perf_counter() - start, 3),
    }


def _notes(wanted: bool, pictures: int, rows: Sequence[IndexRow]) -> list[str]:
    if wanted and not pictures and any(row.median is not None for row in rows):
        return [f"There are no pictures: {len(rows):,} entries leave no room for them in {MOST_BYTES // 10**6} MB."]
    return []


def _with_pictures(store: Path, rows: Sequence[IndexRow], result: str | None, report: Report) -> list[IndexRow]:
    """Return the rows with their pictures, each as large as the room that is left allows."""
    from emres.view.report.index import row_bytes

    room = MOST_BYTES - _FIXED - sum(map(row_bytes, rows))
    left, drawn = sum(row.median is not None for row in rows), []
    for number, row in enumerate(rows):
        report(store.name, "draw", number, len(rows))
        if row.median is None:
            drawn.append(row)
            continue
        most = min(room // left * 3 // 4, _FINEST)  # base64 makes 4 bytes of 3
        picture = _picture(Store(store).entry(row.name), result, most) if most >= _FEWEST else b""
        room, left = room - 4 * (len(picture) + 2) // 3, left - 1
        drawn.append(replace(row, thumbnail=picture))
    return drawn


def _picture(group: EntryGroup, result: str | None, most: int) -> bytes:
    from emres.view.thumbnail import thumbnail

    try:
        kind = kind_of(group, result) or "map"
        facts = group.attributes(kind)
        density = facts.get("source_kind", "map")
        # Read once: thousands of entries are waiting.
        grids = [grid_from_attributes(level) for level in facts["levels"]]
        level = next((k for k in reversed(range(len(grids))) if max(grids[k].shape) >= _DRAWN), 0)
        volumes = [
            make_volume(np.asarray(group.array(part, level)[...]), grids[level], kind=part) for part in (density, kind)
        ]
        return thumbnail(volumes[0], volumes[1], most) or b""
    except (EmresError, KeyError):  # a row without a picture is a row
        return b""
