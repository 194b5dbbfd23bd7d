"""A map and its local resolution, ready to be shown: of an entry, or of two files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.mrc import read_mrc
from emres.archive.store import CHUNK, LOCAL_RESOLUTION, EntryGroup, open_volume
from emres.errors import MapError, UsageError
from emres.run.export import labels_of, latest_result
from emres.view.contour import automatic_level
from emres.view.palette import PALETTE, Palette, palette_for
from emres.view.sampling import MOST_VOXELS, in_memory
from emres.volume.grid import grid_of, make_volume

if TYPE_CHECKING:
    import xarray as xr

_PEAKS, _LEVELS = 8, 1 << 14  # how far above the averaged ones a map's own peaks are looked for, and how finely
_ODD = re.compile(r"[^A-Za-z0-9_.+-]+")


@dataclass(frozen=True, eq=False)
class Shown:
    """What is shown.

    Parameters
    ----------
    name : str
        Safe as part of a file name.
    volume, resolution : Volume
        (z, y, x) density and Å on one grid; lazy where they come from a store.
    small : (Volume, Volume)
        The same in memory, averaged to at most 256^3 voxels.
    title : str
    reported : float or None
        The resolution reported for the whole map, Å.
    authors_level : float or None
        The contour level that the author recommends.
    labels : (list of str, list of str)
        MRC labels of both.
    """

    name: str
    volume: xr.DataArray
    resolution: xr.DataArray
    small: tuple[xr.DataArray, xr.DataArray]
    title: str
    reported: float | None = None
    authors_level: float | None = None
    labels: tuple[Sequence[str], Sequence[str]] = ((), ())

    def level(self, wanted: float | None = None) -> tuple[float, str]:
        """Return the contour level at which the map is shown, and whose it is: ``yours``, ``author's``, ``automatic``.

        The author's where the map crosses it, else :func:`emres.view.contour.automatic_level`.

        Raises
        ------
        MapError
            If the map has no surface.
        """
        if wanted is not None:
            return wanted, "yours"
        values = self.small[0].values
        if self.authors_level is not None and float(values.min()) <= self.authors_level < float(values.max()):
            return self.authors_level, "author's"
        return automatic_level(values, grid_of(self.small[0]).voxel_size), "automatic"

    def full_level(self, level: float) -> float:
        """Return the level of the map's own voxels that encloses as much as a level of the averaged ones does.

        Averaging lowers peaks, so that a level found on ``small`` would show too much of a finer map.
        """
        small = self.small[0].values
        if self.volume.shape == small.shape:
            return level
        low, high = float(small.min()), float(small.max())
        edges = np.linspace(low, low + _PEAKS * (high - low), _LEVELS + 1)
        counts = np.zeros(_LEVELS, dtype=np.int64)
        for start in range(0, self.volume.sizes["z"], CHUNK):
            slab = self.volume.isel(z=slice(start, start + CHUNK)).values
            counts += np.histogram(np.clip(slab, edges[0], edges[-1]), bins=edges)[0]
        above = np.cumsum(counts[::-1])[::-1] / counts.sum()
        return float(edges[int(np.argmin(np.abs(above - np.mean(small > level))))])

    def palette(self, name: str = PALETTE) -> Palette:
        """Return the scale for the resolution (:func:`emres.view.palette.palette_for`)."""
        return palette_for(self.small[1].values, name, self.reported)


def shown_entry(group: EntryGroup, kind: str | None = None) -> Shown:
    """Return a local resolution of an entry, the newest by default, and the map it was made from.

    Raises
    ------
    StoreError
        If the entry has no such kind, or not its map any more.
    UsageError
        If the kind is not a local resolution.
    """
    kind = kind or latest_result(group)
    if not kind.startswith(LOCAL_RESOLUTION):
        raise UsageError("only a local resolution is shown", got=kind, expected=" or ".join(group.results()) or None)
    volume_of = open_volume(group.path, kind)  # which also tells if it is not there
    attributes = group.attributes(kind)
    source = attributes.get("source_kind", "map")
    entry = group.attributes()["entry"]
    return Shown(
        name=group.name,
        volume=open_volume(group.path, source),
        resolution=volume_of,
        small=(_small(group, source), _small(group, kind)),
        title=f"{group.name}, {attributes['model']}",
        reported=_number(entry.get("resolution")),
        authors_level=_number(entry.get("contour_level")) if source == "map" else None,
        labels=(labels_of(group, source), labels_of(group, kind)),
    )


def shown_files(map_file: Path, resolution_file: Path, voxel_size: float | None = None) -> Shown:
    """Return a map and a local resolution of any program, from two MRC files.

    Parameters
    ----------
    map_file, resolution_file : Path
        With as many voxels. Where both lie in space the map tells, as other programs often write no voxel size.
    voxel_size : float, optional
        Å; overrides the map's header.

    Raises
    ------
    MapError
        If one of them is no map, or they differ in shape.
    """
    volume = read_mrc(map_file, voxel_size)
    grid = grid_of(volume)
    found = read_mrc(resolution_file, grid.voxel_size)
    if found.shape != volume.shape:
        raise MapError(
            f"{resolution_file} lies on another grid than the map",
            got=f"{found.shape} voxels",
            expected=f"{volume.shape}",
            cure="resample it to the map",
        )
    name = _ODD.sub("_", map_file.name.split(".")[0]).strip("-_.+") or "map"
    resolution = make_volume(
        found.values, grid, kind=f"{LOCAL_RESOLUTION}/{name}", mrc_header=volume.attrs["mrc_header"]
    )
    label = f"emres: local resolution (A) from {resolution_file.name}"[:80]
    return Shown(
        name=name,
        volume=volume,
        resolution=resolution,
        small=(in_memory(volume), in_memory(resolution)),
        title=f"{map_file.name}, {resolution_file.name}",
        labels=((), (label,)),
    )


def _small(group: EntryGroup, kind: str) -> xr.DataArray:
    """Return a kind in memory, from the finest level of its pyramid that is cheap to hold whole, or the last."""
    levels = range(group.levels(kind))
    level = next((level for level in levels if group.grid(kind, level).voxels <= MOST_VOXELS), levels[-1])
    return in_memory(open_volume(group.path, kind, level))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None
