"""A map with its local resolution, as other programs and slides take it: picture, GLB, JSON, ChimeraX folder."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emres.archive.disk import disk_errors, move_into_place, replaced_file
from emres.archive.mrc_write import SLAB, write_mrc
from emres.errors import UsageError
from emres.run.export import FILLED_LABEL, filled_volume, path_for
from emres.run.shown import Shown
from emres.view.palette import PALETTE

if TYPE_CHECKING:
    import numpy as np

FORMATS = ("mrc", "filled-mrc", "chimerax", "json", "png", "glb")
SUFFIXES = {".png": "png", ".glb": "glb", ".json": "json", ".cxc": "chimerax"}


@dataclass(frozen=True)
class Written:
    """What came of an export.

    Parameters
    ----------
    path : Path
        The file, or the folder.
    level : float or None
        The contour level of the surface, and in ``whose`` who chose it.
    whose : str
    """

    path: Path
    level: float | None = None
    whose: str = ""


def export_shown(
    shown: Shown,
    target: Path | str,
    form: str,
    *,
    level: float | None = None,
    palette: str = PALETTE,
    overwrite: bool = False,
) -> Written:
    """Write a map with its local resolution in one of the forms in which it is looked at.

    Parameters
    ----------
    shown : Shown
    target : path
        A file, or a folder that gets ``<name>_local_resolution.<form>``; for ``chimerax`` a folder, which is made, or
        one that exists and gets ``<name>_chimerax``.
    form : str
        ``png``, ``glb``, ``json`` or ``chimerax``.
    level : float, optional
        Contour level; the author's by default, else one that is found.
    palette : str
    overwrite : bool

    Returns
    -------
    Written

    Raises
    ------
    UsageError
        If there is no such form or palette, or the target exists and may not be replaced.
    MapError
        If nothing is resolved, or the map has no surface at this level.
    StoreError
        If it cannot be written.
    """
    writers: dict[str, Callable[[Shown, Path, float | None, str], Written]] = {
        "png": _png, "glb": _glb, "json": _json, "chimerax": _chimerax,
    }  # fmt: skip
    if form not in writers:
        raise UsageError("there is no such format", got=form, expected=", ".join(FORMATS))
    if form == "chimerax":
        path = _folder_for(Path(target), shown.name, overwrite)
    else:
        path = path_for(target, f"{shown.name}_local_resolution.{form}", overwrite)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return writers[form](shown, path, level, palette)


def _png(shown: Shown, path: Path, level: float | None, palette: str) -> Written:
    from emres.view.overview import overview_picture

    shown_at, whose = shown.level(level)
    overview_picture(
        shown.volume, shown.resolution, shown_at, path,
        title=shown.title, palette=palette, overview=shown.small, reported=shown.reported,
    )  # fmt: skip
    return Written(path, shown_at, whose)


def _glb(shown: Shown, path: Path, level: float | None, palette: str) -> Written:
    from emres.view.glb import write_glb
    from emres.view.surface import surface

    shown_at, whose = shown.level(level)
    scale = shown.palette(palette)
    density, resolution = shown.small
    write_glb(path, surface(density, shown_at, resolution), scale, name=shown.name)
    return Written(path, shown_at, whose)


def _json(shown: Shown, path: Path, level: float | None, palette: str) -> Written:
    from emres.view.histogram import histogram

    def slabs() -> Iterator[np.ndarray[Any, Any]]:
        starts = range(0, shown.resolution.sizes["z"], SLAB)
        return (shown.resolution.isel(z=slice(start, start + SLAB)).values for start in starts)

    text = json.dumps(histogram(slabs))
    with replaced_file(path) as part:
        part.write_text(f"{text}\n", encoding="utf-8")
    return Written(path)


def _chimerax(shown: Shown, path: Path, level: float | None, palette: str) -> Written:
    """Write maps and scripts into a folder that appears whole."""
    from emres.view.chimerax import chimera_script, chimerax_script

    shown_at, whose = shown.level(level)
    scale = shown.palette(palette)
    names = [f"{shown.name}_{what}.mrc" for what in ("map", "local_resolution", "local_resolution_filled")]
    shown_at = shown.full_level(shown_at) if whose == "automatic" else shown_at
    script = (names[0], names[2], shown_at, scale, shown.title)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    of_map, of_resolution = shown.labels
    try:
        part.mkdir()
        write_mrc(part / names[0], shown.volume, labels=of_map)
        write_mrc(part / names[1], shown.resolution, labels=of_resolution)
        write_mrc(part / names[2], filled_volume(shown.resolution), labels=[*of_resolution, FILLED_LABEL])
        (part / f"{shown.name}.cxc").write_text(chimerax_script(*script), encoding="utf-8")
        (part / f"{shown.name}.cmd").write_text(chimera_script(*script), encoding="utf-8")
        move_into_place(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Written(path, shown_at, whose)


def _folder_for(target: Path, name: str, overwrite: bool) -> Path:
    """Return the folder to be made; one that holds anything else than an export of before is never replaced."""
    folder = (
        target / f"{name}_chimerax"
        if target.is_dir()
        else target.with_suffix("")
        if target.suffix == ".cxc"
        else target
    )
    if not folder.exists():
        return folder
    if not overwrite:
        raise UsageError(f"{folder} exists already", cure="pass --force to replace it")
    ours = {
        f"{name}{suffix}"
        for suffix in (".cxc", ".cmd", "_map.mrc", "_local_resolution.mrc", "_local_resolution_filled.mrc")
    }
    if not folder.is_dir() or {entry.name for entry in folder.iterdir()} - ours:
        raise UsageError(f"{folder} holds other things than an export", cure="choose another folder")
    return folder
