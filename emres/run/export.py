"""Out of the store: a volume as an MRC file lying exactly on the map it came from, a local resolution as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from emres.archive.disk import disk_errors
from emres.archive.mrc_write import write_mrc
from emres.archive.store import LOCAL_RESOLUTION, EntryGroup, open_volume
from emres.errors import StoreError, UsageError
from emres.volume.masking import fill_outside

if TYPE_CHECKING:
    import xarray as xr

FILLED_VOXELS = 5
_CHEAP = 256**3  # voxels


def export_mrc(
    group: EntryGroup,
    target: Path | str,
    kind: str | None = None,
    *,
    overwrite: bool = False,
    filled: bool = False,
) -> Path:
    """Write one kind of an entry as MRC.

    Parameters
    ----------
    group : EntryGroup
    target : path
        A file, or a folder that gets ``<name>_<kind>.mrc``.
    kind : str, optional
        The newest local resolution by default.
    overwrite : bool
    filled : bool
        Carry a local resolution 5 voxels beyond its mask, for colouring a surface.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    StoreError
        If the entry has no such kind, or the file cannot be written.
    UsageError
        If the file exists and may not be replaced, or what is to be filled is not a local resolution.
    """
    kind = kind or latest_result(group)
    path = _path_for(target, export_name(group, kind, "_filled.mrc" if filled else ".mrc"), overwrite)
    volume, labels = open_volume(group.path, kind), labels_of(group, kind)
    if filled:
        volume = _filled(volume, kind)
        labels.append(f"filled {FILLED_VOXELS} voxels beyond the mask, for colouring only")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mrc(path, volume, labels=labels, overwrite=overwrite)
    return path


def _filled(volume: xr.DataArray, kind: str) -> xr.DataArray:
    if not kind.startswith(LOCAL_RESOLUTION):
        raise UsageError("only a local resolution is filled", got=kind)
    import numpy as np

    # Chunk by chunk with what lies around, so that a map of any size is filled in little memory.
    meta = np.empty((0, 0, 0), dtype=np.float32)
    beyond = volume.data.map_overlap(
        fill_outside, depth=FILLED_VOXELS, boundary=0, meta=meta, voxels=FILLED_VOXELS, allow_rechunk=True
    )
    return volume.copy(data=beyond)


def export_png(group: EntryGroup, target: Path | str, kind: str | None = None, *, overwrite: bool = False) -> Path:
    """Write a picture of a local resolution: slices, colour bar, histogram (:func:`emres.view.slices.slice_picture`).

    Parameters
    ----------
    group : EntryGroup
    target : path
        A file, or a folder that gets ``<name>_local_resolution.png``.
    kind : str, optional
        ``local_resolution/<name>``; the newest by default.
    overwrite : bool

    Returns
    -------
    Path
        The file.

    Raises
    ------
    StoreError
        If the entry has no such kind, or the file cannot be written.
    UsageError
        If the kind is not a local resolution, or the file exists and may not be replaced.
    """
    from emres.view.slices import slice_picture

    kind = kind or latest_result(group)
    if not kind.startswith(LOCAL_RESOLUTION):
        raise UsageError("only a local resolution is drawn", got=kind, expected=" or ".join(group.results()) or None)
    path = _path_for(target, export_name(group, kind, ".png"), overwrite)
    attributes = group.attributes(kind)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return slice_picture(
            open_volume(group.path, attributes.get("source_kind", "map")),
            open_volume(group.path, kind),
            path,
            title=f"{group.name}, {attributes['model']}",
            overview=open_volume(group.path, kind, _small_level(group, kind)),
            reported=group.attributes()["entry"].get("resolution"),
        )


def _small_level(group: EntryGroup, kind: str) -> int:
    """Return the finest level of a pyramid that is cheap to hold whole, or the last."""
    levels = range(group.levels(kind))
    return next((level for level in levels if group.grid(kind, level).voxels <= _CHEAP), levels[-1])


def _path_for(target: Path | str, name: str, overwrite: bool) -> Path:
    target = Path(target)
    path = target / name if target.is_dir() or not target.suffix else target
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already", cure="pass --force to replace it")
    return path


def export_name(group: EntryGroup, kind: str, suffix: str = ".mrc") -> str:
    """Return the file name of an export: ``EMD-13939_local_resolution.mrc``, ``EMD-13939_half_map_1.mrc``."""
    return f"{group.name}_{kind.split('/')[0]}{suffix}"


def latest_result(group: EntryGroup) -> str:
    """Return the local resolution that was written last.

    Raises
    ------
    StoreError
        If there is none.
    """
    results = group.results()
    if not results:
        raise StoreError(f"{group.path} has no {LOCAL_RESOLUTION}", cure=f"make one: emres predict {group.path}")
    return max(results, key=lambda kind: (group.path / kind / "zarr.json").stat().st_mtime)


def labels_of(group: EntryGroup, kind: str) -> list[str]:
    """Return the MRC labels that record where a volume comes from (80 characters each at most)."""
    attributes = group.attributes(kind)
    if not kind.startswith(LOCAL_RESOLUTION):
        return [f"emres: {kind} of {group.name}"[:80]]
    made = f"{attributes['program']} local resolution (A) of {group.name}, {attributes['date']}"
    if "method" in attributes:
        how = "method {method} definition {definition} threshold {threshold:g} window {window:.1f} A"
        found = "mask {mask}, capped {capped_share:.1%}, unresolved {unresolved_share:.1%}"
        return [line[:80] for line in (made, how.format(**attributes), found.format(**attributes))]
    net = f"model {attributes['model']} weights {attributes['weights_sha256'][:12]} mask {attributes['mask']}"
    return [made[:80], net[:80]]
