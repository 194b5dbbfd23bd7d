"""Two half maps, from files or a store -> their FSC curves, the resolution of the whole, and the files that tell it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.disk import disk_errors, replaced_file
from emres.archive.fsc_xml import fsc_xml
from emres.archive.mrc import read_mrc
from emres.errors import MapError, UsageError
from emres.run.estimate import EstimateJob, average, check_memory, estimate_job, maps_and_mask
from emres.run.jobs import check_choices, provenance, resolve_device
from emres.run.masks import described, whole_mask
from emres.volume.grid import Grid, Triple, grid_of
from emres.volume.masking import soft_edge
from emres.volume.pyramid import MemoryPyramid

if TYPE_CHECKING:
    from emres.estimators.global_fsc import GlobalFsc

Array = np.ndarray[Any, Any]

THRESHOLDS = (0.143, 0.5)

_SOFT_EDGE = 6.0  # Å, of the mask; a harder one correlates the halves
_SOFT_VOXELS = 4.0  # at least


@dataclass(frozen=True)
class FscReport:
    """The FSC of two half maps, and what it was taken of.

    Parameters
    ----------
    name : str
    grid : Grid
    mask : str
        As the user named it.
    fsc : GlobalFsc
    """

    name: str
    grid: Grid
    mask: str
    fsc: GlobalFsc

    def resolutions(self, curve: str) -> dict[float, float]:
        """Return the resolution of a curve (Å) by threshold."""
        return {threshold: self.fsc.resolution(threshold, curve) for threshold in THRESHOLDS}

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values: ``resolution`` in Å by curve and threshold, ``curves`` by name."""
        read = [name for name in self.fsc.curves if name != "randomised"]
        beyond = self.fsc.randomised_beyond
        return {
            "name": self.name,
            **provenance(self.mask),
            "shape": list(self.grid.shape),
            "voxel_size": list(self.grid.voxel_size),
            "resolution": {
                name: {f"{threshold:g}": round(value, 3) for threshold, value in self.resolutions(name).items()}
                for name in read
            },
            "best": self.fsc.best,
            "randomised_beyond": None if beyond is None else round(beyond, 3),
            "frequency": [round(float(value), 6) for value in self.fsc.frequency],
            "curves": {name: [round(float(value), 6) for value in curve] for name, curve in self.fsc.curves.items()},
        }


def fsc_of_files(
    half_maps: Sequence[Path],
    *,
    mask: str = "auto",
    device: str = "auto",
    voxel_size: float | Triple | None = None,
) -> FscReport:
    """Return the FSC of two half-map files.

    Parameters
    ----------
    half_maps : two paths
    mask : str
        ``auto`` (found on their average), ``none`` or a mask file; its edge is made soft here.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    voxel_size : float or (z, y, x), optional
        Å; overrides the headers'.

    Raises
    ------
    UsageError, MapError
        If a file is no map, the two lie on different grids, or the mask cannot be had.
    """
    check_choices(mask, device)
    first, second = (read_mrc(path, voxel_size) for path in half_maps)
    grid = grid_of(first)
    if not grid_of(second).matches(grid):
        raise MapError(
            f"{half_maps[1]} lies on another grid than {half_maps[0]}",
            got=described(grid_of(second)),
            expected=described(grid),
        )
    check_memory(grid)
    maps = [np.asarray(half.values, dtype=np.float32) for half in (first, second)]
    inside = None if mask == "none" else whole_mask(MemoryPyramid(average(maps), grid), mask, None)
    return FscReport(Path(half_maps[0]).name, grid, mask, _fsc(maps, inside, grid, device))


def fsc_of_entry(entry: Path | str, *, mask: str = "auto", device: str = "auto") -> FscReport:
    """Return the FSC of the half maps of an entry of a store.

    Parameters
    ----------
    entry : path
        ``STORE/EMD-13939.zarr``.
    mask : str
        ``auto``, ``contour``, ``none`` or a mask file; its edge is made soft here.
    device : str

    Raises
    ------
    StoreError, UsageError, MapError
        If the entry has no half maps, or the mask cannot be had.
    """
    job: EstimateJob = estimate_job(entry, "fsc", mask=mask, device=device)
    maps, inside = maps_and_mask(job)
    return FscReport(job.group.name, job.grid, mask, _fsc(maps, None if mask == "none" else inside, job.grid, device))


def _fsc(maps: Sequence[Array], inside: Array | None, grid: Grid, device: str) -> GlobalFsc:
    from emres.estimators.global_fsc import global_fsc

    width = max(_SOFT_EDGE / grid.mean_voxel_size, _SOFT_VOXELS)
    weight = None if inside is None else soft_edge(inside, width)
    return global_fsc(maps[0], maps[1], grid.voxel_size, weight, device=resolve_device(device))


def write_fsc(report: FscReport, prefix: Path, *, overwrite: bool = False) -> dict[str, str]:
    """Write a report as ``PREFIX_fsc.json``, ``PREFIX_fsc.xml`` (EMDB's form) and ``PREFIX_fsc.png``.

    Returns
    -------
    dict
        Path by ``json``, ``xml``, ``png``.

    Raises
    ------
    UsageError
        If one exists and may not be replaced.
    StoreError
        If one cannot be written.
    """
    from emres.view.fsc_plot import fsc_picture

    paths = {form: prefix.with_name(f"{prefix.name}_fsc.{form}") for form in ("json", "xml", "png")}
    taken = [str(path) for path in paths.values() if path.exists()]
    if taken and not overwrite:
        raise UsageError(f"{' and '.join(taken)} exists already", cure="pass --force, or another prefix to -o")
    frequency, best = list(report.fsc.frequency), report.fsc.best
    with disk_errors(prefix.parent):
        prefix.parent.mkdir(parents=True, exist_ok=True)
        _replace(paths["json"], json.dumps(report.to_json(), indent=1) + "\n")
        _replace(paths["xml"], fsc_xml(frequency, list(report.fsc.curves[best]), f"emres {best} FSC"))
        fsc_picture(
            frequency,
            {name: list(curve) for name, curve in report.fsc.curves.items()},
            paths["png"],
            crossings=report.resolutions(best),
            title=report.name,
        )
    return {form: str(path) for form, path in paths.items()}


def _replace(path: Path, text: str) -> None:
    with replaced_file(path) as part:
        part.write_text(text, encoding="utf-8")
