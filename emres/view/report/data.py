"""What a report shows, and what of it the page's scripts read. Numbers only, no page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emres.view.palette import limits
from emres.view.report.codes import Coded, packed
from emres.view.report.distribution import Distribution, histogram_edges, scatter_points
from emres.volume.grid import Grid, Shape, Triple

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ResultShown:
    """One local resolution in a report.

    Parameters
    ----------
    name : str
    volume : Coded
    seen : Distribution
        Of all its voxels, at full sampling.
    facts : mapping
        What is recorded of its making: ``model``, ``definition``, ``threshold``, ``date``, …
    """

    name: str
    volume: Coded
    seen: Distribution
    facts: dict[str, Any]


@dataclass(frozen=True)
class ReportData:
    """Everything a report shows.

    Parameters
    ----------
    name, title : str
    entry : mapping
        Facts of the entry: ``resolution`` (Å, reported), ``method``, ``resolution_method``, ``point_group``, …
    grid : Grid
        Of the map.
    start : (z, y, x) voxels
        Where the piece that is shown begins in it.
    factor : int
        Voxels of the map along the edge of one that is shown.
    density : Coded
    contour_level : float
    authors_level : bool
        Whether it is the author's.
    results : sequence of ResultShown
    samples : (results, voxels) float32
        Å at the same voxels of every result, for comparing them.
    sampled : int
        Every how many voxels one was taken; 1 for all.
    fsc : mapping, optional
        ``frequency`` (1/Å), ``curves`` by name, ``resolution`` (Å by threshold), ``best``.
    warnings, notes : sequence of str
        What makes the answer doubtful; what is missing here and why.
    made_of : sequence of str
        The map or half maps that are shown.
    program : str
        What wrote the report, with its version and the date.
    """

    name: str
    title: str
    entry: dict[str, Any]
    grid: Grid
    start: Shape
    factor: int
    density: Coded
    contour_level: float
    authors_level: bool
    results: Sequence[ResultShown]
    samples: Array
    sampled: int = 1
    fsc: dict[str, Any] | None = None
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    made_of: Sequence[str] = field(default=("map",))
    program: str = "emres"

    @property
    def shown(self) -> Grid:
        """The grid of the piece that is shown."""
        shape: Shape = self.density.codes.shape
        size = _scaled(self.grid.voxel_size, self.factor)
        middle = tuple(first + (self.factor - 1) / 2 for first in self.start)
        return Grid(shape, size, self.grid.to_angstrom((middle[0], middle[1], middle[2])))


def _scaled(size: Triple, factor: int) -> Triple:
    z, y, x = (value * factor for value in size)
    return z, y, x


def to_json(report: ReportData) -> dict[str, Any]:
    """Return what the page's scripts read, as JSON values; volumes come beside it (:func:`payload`)."""
    shown, reported = report.shown, report.entry.get("resolution")
    return {
        "name": report.name,
        "shape": list(shown.shape),
        "voxel_size": list(shown.voxel_size),
        "origin": list(shown.origin),
        "contour": report.contour_level,
        "authors_level": report.authors_level,
        "density": {"low": report.density.low, "high": report.density.high},
        "reported": reported,
        "results": [
            _result_json(result, known, reported) for result, known in zip(report.results, report.samples, strict=True)
        ],
        "limits": _limits(report.samples, reported),
        "points": scatter_points(report.samples) if len(report.results) > 1 else [],
        "fsc": report.fsc,
    }


def _limits(values: Array, reported: float | None) -> list[float]:
    """Return the ends of a scale, Å."""
    return [round(end, 2) for end in limits(values, reported)] if (values > 0).any() else [0.0, 1.0]


def _result_json(result: ResultShown, sample: Array, reported: float | None) -> dict[str, Any]:
    seen, edges = result.seen, histogram_edges(result.seen)
    quantiles = {
        name: round(seen.quantile(share), 2) for name, share in (("p05", 0.05), ("median", 0.5), ("p95", 0.95))
    }
    return {
        "name": result.name,
        "method": result.facts.get("method") or ("file" if "file" in result.facts else "net"),
        "low": result.volume.low,
        "high": result.volume.high,
        "voxels": seen.voxels,
        "edges": [round(float(edge), 2) for edge in edges],
        "counts": seen.histogram(edges),
        "limits": _limits(sample, reported),
        **(quantiles if seen.voxels else dict.fromkeys(quantiles)),
    }


def payload(report: ReportData) -> str:
    """Return the volumes as text: the density, then each result (:func:`packed`)."""
    return packed([report.density.codes, *(result.volume.codes for result in report.results)])
