"""A map and its local resolutions, from files or a store -> one HTML page that opens without a network."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.disk import replaced_file
from emres.errors import EmresError, UsageError
from emres.run.estimate import HALF_MAPS
from emres.run.outcome import Report, no_report
from emres.run.report_gather import Tell, box_shown, gathered
from emres.run.report_sources import ReportSource, find_report_source
from emres.view.report.data import ReportData
from emres.volume.blocks import Box
from emres.volume.grid import Triple

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, Any]

MOST_BYTES = 15_000_000  # of the page

_MOST_VOXELS = 14_000_000  # shown, of map and results together as they compress
_RESULT_SHARE = 0.25  # of a map's bytes that a result takes
_FACTORS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_CHECKED = 400**3  # voxels of a map whose spectrum is looked at


def report(
    source: str | Path,
    output: Path | str,
    *,
    store: Path | str | None = None,
    local_resolution: Sequence[Path | str] = (),
    voxel_size: float | Triple | None = None,
    force: bool = False,
    report: Report = no_report,
) -> dict[str, Any]:
    """Write the report of a map: one HTML page that carries all it shows and opens without a network.

    It shows every local resolution of an entry, and those given as files; nothing is computed but the FSC of half maps.

    Parameters
    ----------
    source : str
        A map file, an entry group, or the name of an entry of ``store``.
    output : path
        The page, ``report.html``.
    store : path, optional
    local_resolution : sequence of paths
        Local-resolution maps of any program on the map's grid.
    voxel_size : float or (z, y, x), optional
        Å; overrides a header without a usable voxel size.
    force : bool
        Replace ``output`` if it exists.
    report : callable
        Told of every stage.

    Returns
    -------
    dict
        ``name``, ``output``, ``bytes``, ``seconds``, ``results`` (names), ``shown`` (voxels, z y x), ``factor`` (voxels
        of the map along the edge of one that is shown), ``warnings``, ``notes``.

    Raises
    ------
    EmresError
        If any of it cannot be; nothing is left half-written.
    """
    from emres.view.report.html import render

    start, output = time.perf_counter(), Path(output)
    if output.exists() and (output.is_dir() or not force):
        raise UsageError(f"{output} exists already", cure="pass --force to replace it, or another name to -o")
    found = find_report_source(
        str(source),
        store=None if store is None else Path(store),
        local_resolution=[Path(path) for path in local_resolution],
        voxel_size=voxel_size,
    )
    data, page = _within_bytes(found, lambda *stage: report(found.name, *stage), render)
    _write(output, page)
    report(found.name, "done", 1, 1)
    return {
        "name": found.name,
        "output": str(output),
        "bytes": output.stat().st_size,
        "seconds": round(time.perf_counter() - start, 3),
        "results": [result.name for result in data.results],
        "shown": list(data.density.codes.shape),
        "factor": data.factor,
        "warnings": list(data.warnings),
        "notes": list(data.notes),
    }


def _within_bytes(found: ReportSource, tell: Tell, render: Callable[[ReportData], str]) -> tuple[ReportData, str]:
    """Gather and render; at a coarser sampling if the page grows too big, as noise compresses badly."""
    box = box_shown(found)
    said = _said(found, tell)
    factor = _factor_for(box, len(found.results))
    for larger in _FACTORS[_FACTORS.index(factor) :]:
        data = gathered(found, box, larger, said, tell)
        tell("write", 0, 0)
        page = render(data)
        if len(page.encode()) <= MOST_BYTES:
            break
    return data, page


def _factor_for(box: Box, results: int) -> int:
    most = _MOST_VOXELS / (1 + _RESULT_SHARE * results)
    shapes = {factor: math.prod(-(-n // factor) for n in box.shape) for factor in _FACTORS}
    return next((factor for factor, voxels in shapes.items() if voxels <= most), _FACTORS[-1])


def _write(path: Path, page: str) -> None:
    with replaced_file(path) as part:
        part.write_text(page, encoding="utf-8")


def _said(found: ReportSource, tell: Tell) -> dict[str, Any]:
    """Return what does not depend on the sampling: warnings, notes, FSC."""
    notes = list(found.notes)
    fsc = None
    if found.group is not None and all(found.group.has(kind) for kind in HALF_MAPS):
        tell("FSC of the half maps", 0, 0)
        fsc = _fsc(found, notes)
    tell("look at the map", 0, 0)
    return {"fsc": fsc, "warnings": _warnings(found), "notes": notes}


def _fsc(found: ReportSource, notes: list[str]) -> dict[str, Any] | None:
    from emres.run.global_fsc import fsc_of_entry

    assert found.group is not None
    try:
        told = fsc_of_entry(found.group.path, device="cpu").to_json()
    except EmresError as error:  # the report is worth having without
        notes.append(f"No FSC curves: {error}.")
        return None
    return {key: told[key] for key in ("frequency", "curves", "resolution", "best")}


def _warnings(found: ReportSource) -> list[str]:
    """Return what makes the answers doubtful; half-map methods do not mind a map that was filtered or masked."""
    stored = [sentence for result in found.results for sentence in result.facts.get("warnings", ())]
    needs_map = [result for result in found.results if HALF_MAPS[0] not in result.facts.get("maps", ())]
    grid = found.density.grid()
    if grid.voxels > _CHECKED or (found.results and not needs_map):
        return list(dict.fromkeys(stored))
    from emres.estimators.suspicion import suspect

    values = np.asarray(found.density.array()[...])
    largest = float(np.abs(values).max())
    if largest == 0 or np.ptp(values) == 0:
        return ["The map is constant."]
    seen = suspect(values / np.float32(largest), grid.voxel_size).sentences  # powers of huge densities would overflow
    return list(dict.fromkeys([*stored, *seen]))
