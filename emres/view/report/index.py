"""The page of a batch: one table of all its entries, the conspicuous ones on top."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from emres.view.report.html import SCRIPTS, STYLES, page

Status = Literal["outlier", "failed", "done", "waiting"]

OUTLIER = 3.5  # robust standard deviations (Iglewicz and Hoaglin, 1993)


@dataclass(frozen=True)
class IndexRow:
    """One entry of a batch.

    Parameters
    ----------
    name, title : str
    status : {"outlier", "failed", "done", "waiting"}
        ``waiting``: it has a map and no local resolution.
    reason : str
        Why it failed.
    median, p05, p95, spread : float, optional
        Of the local resolution in the mask, Å; ``spread`` is p95 - p05.
    reported : float, optional
        The resolution reported for the whole map, Å.
    difference : float, optional
        Median - reported, Å.
    deviation : float, optional
        By how many robust standard deviations of the batch the ratio median / reported is off (:func:`deviations` of
        ``emres.run.batch_table``); positive is coarser than reported.
    model : str
        The net or method.
    voxels : int, optional
        In the mask.
    voxel_size : float, optional
        Å, mean.
    released : str
        Date.
    warnings : tuple of str
    report : str
        Address of the entry's own report, relative to the page.
    thumbnail : bytes
        A WebP; not part of the table.
    """

    name: str
    title: str = ""
    status: Status = "waiting"
    reason: str = ""
    median: float | None = None
    p05: float | None = None
    p95: float | None = None
    spread: float | None = None
    reported: float | None = None
    difference: float | None = None
    deviation: float | None = None
    model: str = ""
    voxels: int | None = None
    voxel_size: float | None = None
    released: str = ""
    warnings: tuple[str, ...] = ()
    report: str = ""
    thumbnail: bytes = b""

    def record(self) -> dict[str, Any]:
        """Return the row of a table: everything but the picture, with words for lists."""
        values = {name: getattr(self, name) for name in COLUMNS}
        return {**values, "warnings": "; ".join(self.warnings)}


COLUMNS = tuple(field.name for field in fields(IndexRow) if field.name != "thumbnail")


@dataclass(frozen=True)
class BatchShown:
    """Everything the page of a batch shows.

    Parameters
    ----------
    name : str
        Of the store.
    rows : sequence of IndexRow
        The conspicuous ones first.
    ratio : float, optional
        The batch's typical median / reported; None where there are too few to tell.
    notes : sequence of str
        What the reader should know.
    made : str
        By what, and when.
    """

    name: str
    rows: Sequence[IndexRow]
    ratio: float | None = None
    notes: Sequence[str] = ()
    made: str = ""


def render_index(batch: BatchShown) -> str:
    """Return the page of a batch: one HTML document that needs nothing else."""
    counts = {status: sum(row.status == status for row in batch.rows) for status in ("outlier", "failed", "waiting")}
    counts["warned"] = sum(bool(row.warnings) for row in batch.rows)
    return page(
        "index.html",
        styles=(*STYLES, "index.css"),
        scripts=(*SCRIPTS, "index.js"),
        title=f"{batch.name}, local resolution of {len(batch.rows):,} entries",
        batch=batch,
        counts=counts,
        outlier=OUTLIER,
        models=sorted({row.model for row in batch.rows if row.model}),
        table={"columns": [*COLUMNS, "picture"], "rows": [_cells(row) for row in batch.rows]},
    )


def row_bytes(row: IndexRow) -> int:
    """Return about how many bytes of the page a row takes without its picture."""
    text = sum(len(str(value).encode()) for value in row.record().values() if value is not None)
    return text + 4 * len(COLUMNS)


def _cells(row: IndexRow) -> list[Any]:
    picture = base64.b64encode(row.thumbnail).decode()
    return [*(_short(value) for value in row.record().values()), picture]


def _short(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value
