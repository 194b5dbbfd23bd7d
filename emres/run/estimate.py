"""One map or two half maps of the store -> the local-resolution map of a reference method, in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.store import EntryGroup, open_entry
from emres.archive.writer import VolumeWriter
from emres.errors import EmresError, MapError, UsageError
from emres.run.cluster import free_memory
from emres.run.jobs import (
    Job,
    Progress,
    absolute_mask,
    check_choices,
    check_map,
    hash_of_facts,
    map_facts,
    mask_facts,
    provenance,
    resolve_device,
)
from emres.run.masks import described, slabs, whole_mask
from emres.run.methods import VOLUMES, Recipe, make_recipe, warnings_of
from emres.run.prepare import Summary
from emres.volume.grid import Grid
from emres.volume.pyramid import MemoryPyramid

if TYPE_CHECKING:
    from distributed import Client

    from emres.estimators.estimate import Estimate

Array = np.ndarray[Any, Any]

HALF_MAPS = ("half_map_1", "half_map_2")


@dataclass(frozen=True)
class EstimateJob(Job):
    """Everything an estimate depends on.

    Parameters
    ----------
    entry : Path
        ``STORE/EMD-13939.zarr``.
    recipe : Recipe
        The method and its settings.
    kind : str
        Which map, for methods that read one.
    mask : str
        ``auto``, ``contour``, ``none`` or the path of a mask file.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    """

    recipe: Recipe
    kind: str = "map"
    mask: str = "auto"
    device: str = "auto"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The maps that are read."""
        return HALF_MAPS if self.recipe.halves else (self.kind,)

    @property
    def result(self) -> str:
        """Where the answer goes: ``local_resolution/fsc-dense``, with the map's name if it is not the main one."""
        suffix = "" if self.recipe.halves or self.kind == "map" else f"+{self.kind}"
        return f"{self.recipe.result}{suffix}"

    @property
    def grid(self) -> Grid:
        """The grid of the maps."""
        return self.group.grid(self.kinds[0])

    @property
    def in_memory(self) -> bool:
        """Always: an estimator sees the whole volume, and refuses one that does not fit."""
        return True

    @property
    def mask_kind(self) -> str | None:
        """The map that the mask is found on; none where it is the average of the half maps."""
        if not self.recipe.halves:
            return self.kind
        return "map" if self.group.has("map") and self.group.grid("map").matches(self.grid) else None

    def fingerprint(self) -> str:
        """Return a hash of everything the result depends on; another hash is another result.

        Raises
        ------
        UsageError
            If the mask file cannot be read.
        """
        about = provenance(self.mask)
        facts = {
            "format": 1,
            "program": about["program"],
            "recipe": asdict(self.recipe),
            "maps": [map_facts(self.group, kind) for kind in self.kinds],
            "mask_of": map_facts(self.group, self.mask_kind) if self.mask_kind else None,
            **mask_facts(self.mask, self.contour_level),
        }
        return hash_of_facts(facts)

    def run(self, client: Client | None = None, progress: Progress | None = None) -> dict[str, Any]:
        """Estimate: see :func:`estimate_entry`. It is one task, so a client has nothing to spread."""
        return estimate_entry(self, progress)


def estimate_job(
    entry: Path | str,
    method: str | Recipe = "fsc",
    *,
    kind: str = "map",
    mask: str = "auto",
    device: str = "auto",
) -> EstimateJob:
    """Check a request and return it as a job.

    Parameters
    ----------
    entry : path
        ``STORE/EMD-13939.zarr``.
    method : str or Recipe
        A recipe, or a word for one: ``fsc``, ``fsc-relion@0.5``, ``monores``, ``monores-half``, ``resmap``, …
    kind, mask, device
        See :class:`EstimateJob`.

    Raises
    ------
    StoreError, UsageError, MapError
        If any of it cannot work, before anything is computed.
    """
    check_choices(mask, device)
    group = open_entry(entry)
    recipe = method if isinstance(method, Recipe) else make_recipe(method)
    job = EstimateJob(group.path.absolute(), recipe, kind, absolute_mask(mask), device)  # workers may be elsewhere
    if recipe.halves:
        _check_halves(group, recipe)
    for name in job.kinds:
        check_map(group, name)
    return job


def missing_halves(recipe: Recipe, what: str, cure: str) -> UsageError:
    """Return the error of a method that needs half maps and has none."""
    return UsageError(
        f"{recipe.estimator} compares two half maps, and {what}",
        cure=f"{cure}; from one map use --method monores or resmap, or emres predict",
    )


def _check_halves(group: EntryGroup, recipe: Recipe) -> None:
    missing = [kind for kind in HALF_MAPS if not group.has(kind)]
    if missing:
        raise missing_halves(
            recipe,
            f"{group.name} has no {' and no '.join(missing)}",
            f"bring them in: emres fetch {group.name} --half-maps, or emres import HALF --kind {missing[0]}",
        )
    first, second = (group.grid(kind) for kind in HALF_MAPS)
    if not first.matches(second):
        raise MapError(
            f"the half maps of {group.name} lie on different grids", got=described(second), expected=described(first)
        )


def estimate_entry(job: EstimateJob, progress: Progress | None = None) -> dict[str, Any]:
    """Estimate the local resolution of one entry, or return what is there if it is this very result.

    The volume is in memory as a whole; a result appears in the store when it is whole.

    Parameters
    ----------
    job : EstimateJob
    progress : callable, optional
        Called with (0, 1), then (1, 1).

    Returns
    -------
    dict
        The attributes of the result (``method``, ``definition``, ``threshold``, ``window`` (Å), ``parameters``,
        ``capped_share``, ``unresolved_share``, ``warnings``, ``median``, ``p05``, ``p95`` (Å), ``voxels``, …) and
        ``computed``, 1 or 0.

    Raises
    ------
    EmresError
        If the maps or the mask cannot be used, or do not fit in memory; nothing is left half-written.
    """
    group = job.group
    if job.finished():
        return {**group.attributes(job.result), "computed": 0}
    tell = progress or (lambda done, total: None)
    tell(0, 1)
    maps, inside = maps_and_mask(job)
    found = job.recipe.run(maps, job.grid, inside, resolve_device(job.device))
    if not job.recipe.resolved(found.resolution).any():
        raise MapError(
            f"{job.recipe.name} found no resolution anywhere in the mask",
            cure="widen its sweep with --max-resolution, or use another mask",
        )
    attributes = _written(job, found, warnings_of(job.recipe, maps, job.grid))
    tell(1, 1)
    return {**attributes, "computed": 1}


def maps_and_mask(job: EstimateJob) -> tuple[list[Array], Array]:
    """Read the maps of a job and find their mask.

    Returns
    -------
    one or two (z, y, x) float32, and (z, y, x) bool

    Raises
    ------
    EmresError
        If they do not fit in memory, or the mask cannot be had.
    """
    group, grid = job.group, job.grid
    check_memory(grid, job.recipe.volumes)
    maps = [np.asarray(group.array(kind)[...]) for kind in job.kinds]
    source = group.pyramid(job.mask_kind) if job.mask_kind else MemoryPyramid(average(maps), grid)
    return maps, whole_mask(source, job.mask, job.contour_level)


def check_memory(grid: Grid, volumes: int = VOLUMES) -> None:
    """Refuse a volume that does not fit in memory with what an estimator keeps beside it.

    Raises
    ------
    EmresError
        With both numbers.
    """
    needed, free = volumes * 4 * grid.voxels, free_memory()
    if needed > free:
        raise EmresError(
            f"a map of {'x'.join(map(str, grid.shape))} voxels does not fit in memory",
            got=f"{free / 2**30:.1f} GiB free",
            expected=f"{needed / 2**30:.1f} GiB, {volumes} volumes",
            cure="use a machine with more memory, or bin the maps",
        )


def average(maps: Sequence[Array]) -> Array:
    """Return the mean of two half maps; one map as it is."""
    return maps[0] if len(maps) == 1 else np.asarray((maps[0] + maps[1]) * np.float32(0.5))


def facts_of(recipe: Recipe, found: Estimate, warnings: Sequence[str]) -> dict[str, Any]:
    """Return what is recorded beside an estimate, as JSON values."""
    return {
        "model": recipe.name,
        "method": found.method,
        "definition": found.definition,
        "threshold": found.threshold,
        "window": found.window,
        "parameters": dict(found.parameters),
        "capped_share": round(found.capped_share, 4),
        "unresolved_share": round(found.unresolved_share, 4),
        "warnings": list(warnings),
    }


def _written(job: EstimateJob, found: Estimate, warnings: Sequence[str]) -> dict[str, Any]:
    group, grid, summary = job.group, job.grid, Summary()
    with VolumeWriter(group, job.result, grid) as writer:
        for box in slabs(grid):
            values = found.resolution[box.slices]
            summary.add(job.recipe.resolved(values))
            writer.add(0, values)
        attributes = {
            "fingerprint": job.fingerprint(),
            **provenance(job.mask),
            **facts_of(job.recipe, found, warnings),
            "source_kind": job.mask_kind or job.kinds[0],
            "maps": list(job.kinds),
            "mrc_header": group.attributes(job.kinds[0]).get("mrc_header"),
            **summary.result(),
        }
        writer.commit(attributes)
    return attributes
