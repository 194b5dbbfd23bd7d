"""A store after a batch, as a table: one row an entry, which of them are conspicuous, CSV and Parquet of it."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from emres.archive.attributes import LOCAL_RESOLUTION
from emres.archive.disk import replaced_file
from emres.archive.store import EntryGroup, Store
from emres.errors import EmresError, StoreError, UsageError
from emres.run.export import latest_result
from emres.run.failures import failures_of
from emres.view.report.index import COLUMNS, OUTLIER, IndexRow

ENOUGH = 8  # entries from which on a batch tells what is typical of it

_LEAST_SPREAD = 0.02  # of the ratio's logarithm: less is rounding of the reported resolution

# A spreadsheet takes a cell that begins so for a formula; titles come from anywhere.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def batch_rows(store: Path | str, result: str | None = None) -> list[IndexRow]:
    """Return one row for every entry of a store, and for every one that failed and left nothing.

    Parameters
    ----------
    store : path
    result : str, optional
        Which local resolution, as ``emres-small@0.2`` or ``fsc``; of every entry the newest by default.

    Returns
    -------
    list of IndexRow
        Outliers first, the farthest on top, then those that failed, then the rest by name.

    Raises
    ------
    StoreError
        If there is no such folder.
    """
    if not Path(store).is_dir():
        raise StoreError(f"there is no store {store}", cure="make one: emres fetch EMD-13939 --to STORE")
    folder = Store(Path(store))
    failures = {name: failure.reason for name, failure in failures_of(folder, result).items()}
    rows = [_row(group, result, failures.pop(group.name, "")) for group in folder]
    rows += [IndexRow(name, status="failed", reason=reason) for name, reason in failures.items()]
    return sorted(_judged(rows), key=_rank)


def kind_of(group: EntryGroup, result: str | None) -> str | None:
    """Return the local resolution of an entry that a row tells of, if it has one."""
    if result is None:
        return latest_result(group) if group.results() else None
    kind = f"{LOCAL_RESOLUTION}/{result.removeprefix(f'{LOCAL_RESOLUTION}/')}"
    return next((found for found in group.results() if found == kind or found.partition("@")[0] == kind), None)


def _row(group: EntryGroup, result: str | None, reason: str) -> IndexRow:
    try:
        entry, kind = group.attributes()["entry"], kind_of(group, result)
        row = IndexRow(
            group.name,
            str(entry.get("title") or ""),
            "failed" if reason else "waiting",
            reason,
            reported=_positive(entry.get("resolution")),
            released=str(entry.get("release_date") or ""),
            voxel_size=group.grid("map").mean_voxel_size if group.has("map") else None,
        )
        return row if kind is None else _with_result(row, group.attributes(kind), kind)
    except (EmresError, KeyError, TypeError, AttributeError) as error:  # one broken entry does not hide the others
        return IndexRow(group.name, status="failed", reason=str(error))


def _with_result(row: IndexRow, facts: dict[str, Any], kind: str) -> IndexRow:
    median, low, high = (_positive(facts.get(name)) for name in ("median", "p05", "p95"))
    return replace(
        row,
        status="failed" if row.reason else "done",
        median=median,
        p05=low,
        p95=high,
        spread=None if low is None or high is None else high - low,
        difference=None if median is None or row.reported is None else median - row.reported,
        model=str(facts.get("model") or kind.partition("/")[2]),
        voxels=facts.get("voxels"),
        warnings=tuple(map(str, facts.get("warnings") or ())),
    )


def _positive(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) and value > 0 else None


def deviations(medians: Sequence[float | None], reported: Sequence[float | None]) -> list[float | None]:
    """Tell how far every entry lies from what is typical of its batch.

    The ratio median / reported is compared, as a logarithm: a median need not be what is reported (it is of all voxels
    of a mask, and a method may be off as a whole), but in one batch the two belong together. Center and spread are
    robust: the median, and 1.4826 times the median absolute deviation (Iglewicz and Hoaglin, How to Detect and Handle
    Outliers, 1993), which as many as half of the entries may not follow.

    Parameters
    ----------
    medians, reported : sequences of float or None
        Å.

    Returns
    -------
    list of float or None
        Robust standard deviations, positive where the median is coarser than is typical; None where one of the two is
        missing, or for all of a batch of fewer than 8 such pairs.

    Examples
    --------
    >>> found = deviations([3.1, 3.2, 3.3, 3.4, 3.5, 3.6, 3.7, 3.8, 9.0, None], [3.0] * 10)
    >>> round(found[8], 1), found[9]
    (10.8, None)
    """
    logs = np.array([np.log(m / r) if m and r else np.nan for m, r in zip(medians, reported, strict=True)])
    known = logs[np.isfinite(logs)]
    if known.size < ENOUGH:
        return [None] * len(logs)
    centre = np.median(known)
    spread = max(1.4826 * float(np.median(np.abs(known - centre))), _LEAST_SPREAD)
    return [float((value - centre) / spread) if np.isfinite(value) else None for value in logs]


def typical_ratio(rows: Sequence[IndexRow]) -> float | None:
    """Return the batch's typical median / reported, or None where too few entries have both."""
    ratios = [row.median / row.reported for row in rows if row.median and row.reported]
    return float(np.median(ratios)) if len(ratios) >= ENOUGH else None


def _judged(rows: list[IndexRow]) -> Iterator[IndexRow]:
    found = deviations([row.median for row in rows], [row.reported for row in rows])
    for row, deviation in zip(rows, found, strict=True):
        far = deviation is not None and abs(deviation) > OUTLIER and row.status == "done"
        yield replace(row, deviation=deviation, status="outlier" if far else row.status)


def _rank(row: IndexRow) -> tuple[int, float, int, str]:
    first = {"outlier": 0, "failed": 1}.get(row.status, 2)
    return first, -abs(row.deviation or 0) if first == 0 else 0, len(row.name), row.name


def with_links(rows: Sequence[IndexRow], page: Path, reports: Path) -> list[IndexRow]:
    """Return the rows with the addresses of those reports ``<name>_report.html`` that lie in a folder."""
    there = {path.name for path in reports.glob("*_report.html")} if reports.is_dir() else set()
    beside = Path(os.path.relpath(reports, page.parent))
    return [
        replace(row, report="./" + quote((beside / f"{row.name}_report.html").as_posix()))
        if f"{row.name}_report.html" in there
        else row
        for row in rows
    ]


def write_table(rows: Sequence[IndexRow], path: Path) -> None:
    """Write the table as CSV or Parquet, by the file's suffix.

    Parameters
    ----------
    rows : sequence of IndexRow
    path : Path
        ``.csv`` (UTF-8; a text that a spreadsheet would take for a formula gets an apostrophe before it) or
        ``.parquet``.

    Raises
    ------
    UsageError
        If the suffix is another, or what writes Parquet is not installed.
    StoreError
        If it cannot be written.
    """
    check_table(path)
    with replaced_file(path) as part:
        if path.suffix == ".csv":
            with part.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.DictWriter(stream, COLUMNS)
                writer.writeheader()
                writer.writerows({name: _cell(value) for name, value in row.record().items()} for row in rows)
        else:
            _write_parquet(rows, part)


def check_table(path: Path) -> None:
    """Check that a table of this suffix can be written; errors as of :func:`write_table`."""
    if path.suffix not in (".csv", ".parquet"):
        raise UsageError("a table is CSV or Parquet", got=path.name, expected="FILE.csv or FILE.parquet")
    if path.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise UsageError(
                "pyarrow, which writes Parquet, is not installed", cure="pip install 'emres[table]'"
            ) from error


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return round(value, 6) if isinstance(value, float) else value


def _write_parquet(rows: Sequence[IndexRow], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = {"median", "p05", "p95", "spread", "reported", "difference", "deviation", "voxel_size"}
    types = {
        name: pa.float64() if name in numbers else pa.int64() if name == "voxels" else pa.string() for name in COLUMNS
    }
    pq.write_table(pa.Table.from_pylist([row.record() for row in rows], pa.schema(list(types.items()))), path)
