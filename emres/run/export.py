"""Out of the store: a volume as an MRC file that lies exactly on the map it came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emres.archive.mrc_write import write_mrc
from emres.archive.store import LOCAL_RESOLUTION, EntryGroup, open_volume
from emres.errors import StoreError, UsageError
from emres.volume.masking import fill_outside
from emres.volume.resolved import determined

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    Array = np.ndarray[Any, Any]

FILLED_VOXELS = 5
FILLED_LABEL = f"filled {FILLED_VOXELS} voxels beyond the mask, for colouring only"
_CHUNK = 128  # voxels


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
    path = path_for(target, export_name(group, kind, "_filled.mrc" if filled else ".mrc"), overwrite)
    volume, labels = open_volume(group.path, kind), labels_of(group, kind)
    values: Any = group.voxels(kind)
    if filled:
        if not kind.startswith(LOCAL_RESOLUTION):
            raise UsageError("only a local resolution is filled", got=kind)
        volume, values = filled_volume(volume), None
        labels.append(FILLED_LABEL)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mrc(path, volume, labels=labels, overwrite=overwrite, values=values)
    return path


def filled_volume(volume: xr.DataArray) -> xr.DataArray:
    """Return a local resolution carried 5 voxels beyond its mask, lazily: to be interpolated where a surface lies.

    What is not determined (NaN, ResMap's 100) is filled from its surroundings too, and 0 farther from them.
    """
    import dask.array as da
    import numpy as np

    if min(volume.shape) <= FILLED_VOXELS:
        return volume.copy(data=_fill(volume.values))
    # Chunk by chunk with what lies around, so that a map of any size is filled in little memory.
    lazy = volume.data if hasattr(volume.data, "map_overlap") else da.from_array(volume.values, chunks=_CHUNK)
    beyond = lazy.map_overlap(
        _fill, depth=FILLED_VOXELS, boundary=0, meta=np.empty((0, 0, 0), dtype=np.float32), allow_rechunk=True
    )
    return volume.copy(data=beyond)


def _fill(values: Array) -> Array:
    import numpy as np

    return fill_outside(np.where(determined(values), values, np.float32(0)), FILLED_VOXELS)


def path_for(target: Path | str, name: str, overwrite: bool) -> Path:
    """Return the file that a target means: itself, or ``name`` in it where it is a folder.

    Raises
    ------
    UsageError
        If the file exists and may not be replaced.
    """
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
    told: dict[str, Any] = {**attributes, "weights": str(attributes.get("weights_sha256", ""))[:12]}
    made = f"{told.get('program', 'emres')} local resolution (A) of {group.name}, {told.get('date', 'no date')}"
    if "method" in told:
        how = _labelled(told, method="", definition="", threshold="g", window=".1f")
        found = _labelled(told, mask="", capped_share=".1%", unresolved_share=".1%")
        return [line[:80] for line in (made, how, found)]
    return [made[:80], _labelled(told, model="", weights="", mask="")[:80]]


def _labelled(facts: Mapping[str, Any], **forms: str) -> str:
    """Return the facts that there are, each after its name."""
    return ", ".join(
        f"{name.replace('_', ' ')} {facts[name]:{form}}" for name, form in forms.items() if facts.get(name) is not None
    )
