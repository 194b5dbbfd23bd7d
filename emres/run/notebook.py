"""A picture for the entries that a notebook shows, hung on the archive's tables when this module is loaded."""

from __future__ import annotations

from base64 import b64encode
from html import escape

from emres.archive import notebook
from emres.archive.store import EntryGroup, open_volume
from emres.errors import EmresError
from emres.run.export import latest_result

_MOST = 128**3  # voxels of the level that is drawn


def entry_picture(group: EntryGroup) -> str:
    """Return slices and histogram of the newest local resolution, else of the map, as an ``<img>``; or nothing.

    A coarse level of the pyramid is drawn, so that it takes a moment whatever the size of the map.
    """
    import emres.view.accessor  # noqa: F401

    try:
        kind = latest_result(group) if group.results() else "map"
        resolution = open_volume(group.path, kind, _level(group, kind))
        density = group.attributes(kind).get("source_kind", "map") if kind != "map" else None
        other = None if density is None else open_volume(group.path, density, _level(group, kind))
        entry = group.attributes()["entry"]
        figure = resolution.emres.plot(other, reported=entry.get("resolution"))
    except EmresError:  # what cannot be drawn is still told in the table
        return ""
    text = escape(f"slices and histogram of {kind}", quote=True)
    return f'<img alt="{text}" src="data:image/png;base64,{b64encode(figure._repr_png_()).decode()}"/>'


def _level(group: EntryGroup, kind: str) -> int:
    levels = range(group.levels(kind))
    return next((level for level in levels if group.grid(kind, level).voxels <= _MOST), levels[-1])


notebook.illustrate_with(entry_picture)
