"""An entry before one's eyes: in neuroglancer, from a server of this machine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

from emres.archive.store import LOCAL_RESOLUTION, EntryGroup
from emres.errors import MapError, UsageError
from emres.run.export import latest_result
from emres.run.serve import LOCALHOST, Served, served
from emres.view.neuroglancer import Layer, viewer_state
from emres.view.palette import PALETTE, Palette, palette_for

_CONTRAST = (1, 99.7)  # percentiles of the density drawn black and white


@dataclass(frozen=True)
class View:
    """A view that is being served.

    Parameters
    ----------
    link : str
        What to open in a browser.
    data : Served
        Where the voxels come from.
    state : dict
        What neuroglancer was told.
    """

    link: str
    data: Served
    state: dict[str, Any]


@contextmanager
def neuroglancer_view(
    group: EntryGroup, kind: str | None = None, *, client: str | None = None, palette: str = PALETTE
) -> Iterator[View]:
    """Serve a map and its local resolution to neuroglancer, as long as the context is open.

    Parameters
    ----------
    group : EntryGroup
    kind : str, optional
        ``local_resolution/<name>``; the newest by default, none where the entry has none.
    client : str, optional
        Address of a neuroglancer elsewhere, whose pages may then read the entry meanwhile. By default the one that
        comes with the package ``neuroglancer``, which needs no network.
    palette : str
        See :func:`emres.view.palette.palette_for`.

    Yields
    ------
    View

    Raises
    ------
    UsageError
        If neuroglancer is not installed and no client is given, or ``client`` is no address, or the kind is no local
        resolution.
    StoreError
        If the entry has no such kind.
    """
    if kind is None and group.results():
        kind = latest_result(group)
    if kind is not None and not kind.startswith(LOCAL_RESOLUTION):
        raise UsageError("only a local resolution is laid on the map", got=kind, expected=" or ".join(group.results()))
    group.grid(kind or "map")
    density = group.attributes(kind).get("source_kind", "map") if kind is not None else "map"
    group.grid(density)
    if client is not None:
        with served(group.path, _origin_of(client)) as data:
            state = _state(group, density, kind, palette, data)
            yield View(f"{client}#!{quote(json.dumps(state))}", data, state)
        return
    with _own_client() as viewer, served(group.path, _origin_of(viewer.get_viewer_url())) as data:
        state = _state(group, density, kind, palette, data)
        viewer.set_state(state)
        yield View(viewer.get_viewer_url(), data, state)


@contextmanager
def _own_client() -> Iterator[Any]:
    try:
        import neuroglancer
    except ImportError as error:
        raise UsageError(
            "neuroglancer is not installed",
            cure="pip install 'emres[view]', or name a client that is on the network: --client URL",
        ) from error
    neuroglancer.set_server_bind_address(LOCALHOST)
    viewer = neuroglancer.Viewer()
    try:
        yield viewer
    finally:
        neuroglancer.stop()


def _origin_of(client: str) -> str:
    parts = urlsplit(client)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError("a client is an address", got=client, expected="https://HOST/ or http://HOST:PORT/")
    return f"{parts.scheme}://{parts.netloc}"


def _state(group: EntryGroup, density: str, kind: str | None, palette: str, data: Served) -> dict[str, Any]:
    shown = Layer(f"{group.name} {density}", f"{data.url}/{density}")
    contrast = _contrast(_coarsest(group, density))
    colours = _colours(group, kind, palette) if kind is not None else None
    if kind is None or colours is None:
        return viewer_state(shown, group.grid(density), contrast)
    return viewer_state(
        shown, group.grid(density), contrast, Layer(kind.replace("/", " "), f"{data.url}/{kind}"), colours
    )


def _colours(group: EntryGroup, kind: str, palette: str) -> Palette | None:
    try:
        return palette_for(_coarsest(group, kind), palette, group.attributes()["entry"].get("resolution"))
    except MapError:  # nothing is resolved: there is the map to see
        return None


def _coarsest(group: EntryGroup, kind: str) -> np.ndarray[Any, Any]:
    return np.asarray(group.array(kind, group.levels(kind) - 1)[...])


def _contrast(values: np.ndarray[Any, Any]) -> tuple[float, float]:
    low, high = (float(value) for value in np.percentile(values, _CONTRAST))
    return (low, high) if high > low else (low - 1, low + 1)


def open_in_browser(address: str | Path) -> bool:
    """Open a page where somebody can see it.

    Parameters
    ----------
    address : str or Path
        A link, or a file.

    Returns
    -------
    bool
        Whether a browser was told; False where there is no display or no browser.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    import webbrowser

    return webbrowser.open(address.resolve().as_uri() if isinstance(address, Path) else address)
