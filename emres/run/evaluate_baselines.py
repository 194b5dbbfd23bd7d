"""What any model has to beat: constants that know nothing of the map, and quantities that need no training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from emres.archive.attributes import LOCAL_RESOLUTION
from emres.archive.manifest import Row
from emres.archive.store import EntryGroup
from emres.archive.writer import VolumeWriter
from emres.errors import StoreError, UsageError
from emres.run.estimate import check_memory, facts_of
from emres.run.jobs import hash_of_facts, map_facts, provenance, resolve_device
from emres.run.masks import slabs
from emres.run.methods import Recipe, make_recipe
from emres.run.patch_entries import HALF_MAPS
from emres.run.prepare import Summary
from emres.volume.grid import Grid

Array = np.ndarray[Any, Any]

# Local over global resolution in simulated maps, as a median; ../shared/science.md of the project's data.
LOCAL_OVER_GLOBAL = 1.13
ESTIMATORS = ("monores", "resmap")

_NEAREST, _FEWEST_NEAREST = 0.15, 5  # share of the training maps that stand for a voxel size, and at least
_FEWEST_REPORTED = 20  # maps from which a factor is taken
_RMS = 4.5  # Å, sigma of the window of the local rms


@dataclass(frozen=True)
class TrainingSide:
    """What the training side of a data set tells of a map before it is seen.

    Parameters
    ----------
    voxel_sizes, medians : tuple of float
        Of every training map, Å.
    median : float, optional
        Median of the medians, Å; None where there is no training side.
    local_over_global : float, optional
        Median of local over reported resolution; None where too few training maps have one.
    """

    voxel_sizes: tuple[float, ...]
    medians: tuple[float, ...]
    median: float | None
    local_over_global: float | None

    @classmethod
    def of(cls, rows: Sequence[Row]) -> TrainingSide:
        """Take it from the rows of the training side; their medians are in the manifest."""
        ratios = [row.resolution / row.reported for row in rows if row.reported]
        medians = tuple(row.resolution for row in rows)
        return cls(
            tuple(row.voxel_size for row in rows),
            medians,
            float(np.median(medians)) if medians else None,
            float(np.median(ratios)) if len(ratios) >= _FEWEST_REPORTED else None,
        )

    def at_voxel_size(self, voxel_size: float) -> float | None:
        """Return the constant (Å) for a voxel size: the median of the training maps whose own is nearest.

        Examples
        --------
        >>> TrainingSide((1.0,) * 5 + (3.0,) * 5, (3.0,) * 5 + (9.0,) * 5, 6.0, None).at_voxel_size(2.8)
        9.0
        """
        if not self.medians:
            return None
        distance = np.abs(np.log(np.array(self.voxel_sizes) / voxel_size))
        count = max(_FEWEST_NEAREST, math.ceil(_NEAREST * len(self.medians)))
        return float(np.median(np.array(self.medians)[np.argsort(distance, kind="stable")[:count]]))


def local_rms(density: Array, grid: Grid) -> Array:
    """Return minus the root mean square of the density about every voxel: coarse where a map is faint."""
    sigma = [_RMS / size for size in grid.voxel_size]
    centred = density - np.float32(np.median(density))
    return np.asarray(-np.sqrt(np.maximum(ndimage.gaussian_filter(centred**2, sigma), 0)), dtype=np.float32)


def estimate_of_average(group: EntryGroup, average: Array, inside: Array, method: str, device: str = "auto") -> Array:
    """Return what a one-map method says of the average of an entry's half maps, from the store if it is there.

    Parameters
    ----------
    group : EntryGroup
    average : (z, y, x) float32
    inside : (z, y, x) bool
        The mask, that of the target.
    method : str
        ``monores`` or ``resmap``.
    device : str

    Returns
    -------
    (z, y, x) float32
        Å; 0 outside the mask and where nothing was found. It is kept as ``local_resolution/<method>+average``, unless
        the store cannot be written.

    Raises
    ------
    EmresError
        If the method refuses the map, or it does not fit in memory.
    """
    recipe, grid = make_recipe(method), group.grid(HALF_MAPS[0])
    kind = f"{recipe.result}+average"
    facts = {"maps": [map_facts(group, half) for half in HALF_MAPS], "recipe": recipe.name, **provenance("target")}
    fingerprint = hash_of_facts({**facts, "date": None, "voxels": int(inside.sum())})
    if group.has(kind) and group.attributes(kind).get("fingerprint") == fingerprint:
        return recipe.resolved(np.asarray(group.array(kind)[...]))
    check_memory(grid, recipe.volumes)
    found = recipe.run([average], grid, inside, resolve_device(device))
    with suppress(StoreError):  # a store that cannot be written is evaluated all the same
        _keep(group, kind, found.resolution, recipe, {**facts_of(recipe, found, []), "fingerprint": fingerprint})
    return recipe.resolved(found.resolution)


def _keep(group: EntryGroup, kind: str, resolution: Array, recipe: Recipe, attributes: dict[str, Any]) -> None:
    grid, summary = group.grid(HALF_MAPS[0]), Summary()
    source = {"source_kind": HALF_MAPS[0], "mrc_header": group.attributes(HALF_MAPS[0]).get("mrc_header")}
    with VolumeWriter(group, kind, grid) as writer:
        for box in slabs(grid):
            summary.add(recipe.resolved(resolution[box.slices]))
            writer.add(0, resolution[box.slices])
        told = summary.result() if recipe.resolved(resolution).any() else {}
        writer.commit({**provenance("target"), **attributes, **source, "maps": list(HALF_MAPS), **told})


def is_target(row: Row, method: str) -> bool:
    """Tell whether a row's target was made by this very method."""
    return row.target.removeprefix(f"{LOCAL_RESOLUTION}/").partition("@")[0] == method


def one_target(rows: Sequence[Row], wanted: str | None) -> tuple[Row, ...]:
    """Return the rows of one target.

    Parameters
    ----------
    rows : sequence of Row
    wanted : str, optional
        Its name, ``fsc-dense``; not needed where there is one only.

    Raises
    ------
    UsageError
        If there are several and none was named, or no such.
    """
    names = sorted({row.target.removeprefix(f"{LOCAL_RESOLUTION}/") for row in rows})
    if wanted is None and len(names) > 1:
        raise UsageError("the data set has several targets", got=", ".join(names), cure="choose one: --target NAME")
    if wanted is not None and wanted not in names:
        raise UsageError("the data set has no such target", got=wanted, expected=", ".join(names) or "none")
    return tuple(row for row in rows if wanted is None or row.target == f"{LOCAL_RESOLUTION}/{wanted}")
