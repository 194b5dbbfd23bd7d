"""An entry in neuroglancer: what the link leads to, and what a real browser draws from it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from emres.archive.store import EntryGroup, Store
from emres.errors import StoreError, UsageError
from emres.run import view
from emres.run.view import neuroglancer_view, open_in_browser
from emres.volume.grid import Grid
from tests.archive.volumes import written
from tests.browser import chromium as chromium
from tests.browser import complaints

GRID = Grid((48, 48, 48), (2.0, 2.0, 2.0), origin=(-47.0, -47.0, -47.0))
RESULT = "local_resolution/net@1"


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> EntryGroup:
    """A ball, 3 Å where x is small and 9 Å where it is large."""
    group = Store(tmp_path_factory.mktemp("view") / "store").create("EMD-1", {"title": "A ball", "resolution": 4.0})
    z, y, x = np.meshgrid(*GRID.coordinates().values(), indexing="ij")
    ball = z**2 + y**2 + x**2 < 40**2
    written(group, "map", ball.astype(np.float32), GRID)
    written(group, RESULT, np.where(ball, np.where(x < 0, 3, 9), 0).astype(np.float32), GRID, model="net@1")
    return group


def fetched(url: str, origin: str = "") -> tuple[bytes, Any]:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Origin": origin}), timeout=5) as answer:
        return answer.read(), answer.headers


@pytest.fixture
def shown(group: EntryGroup) -> Iterator[view.View]:
    pytest.importorskip("neuroglancer", reason="neuroglancer is not installed: pip install 'emres[view]'")
    with neuroglancer_view(group) as shown:
        yield shown


def test_the_link_leads_to_a_client_on_this_machine_that_may_read_the_voxels(shown: view.View) -> None:
    client = urlsplit(shown.link)
    assert client.hostname == urlsplit(shown.data.url).hostname == "127.0.0.1"
    assert b"<script" in fetched(shown.link)[0]
    for layer in shown.state["layers"]:
        body, headers = fetched(layer["source"].removesuffix("|zarr3:") + "zarr.json")
        assert json.loads(body)["attributes"]["ome"]["version"] == "0.5"
        assert headers["Access-Control-Allow-Origin"] == f"http://{client.netloc}"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_browser_draws_map_and_resolution_in_the_colours_of_the_palette(shown: view.View, chromium: Any) -> None:
    chromium.get(shown.link)
    # Fine is blue and lies at small x, coarse is red: to the left and to the right of the middle of the x, y panel.
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        picture = screenshot(chromium)
        blue, red = (pixels_like(picture, colour) for colour in ((42, 63, 214), (212, 32, 28)))
        if min(blue[0].size, red[0].size) > 1000:
            break
        time.sleep(0.5)
    assert min(blue[0].size, red[0].size) > 1000, "nothing was drawn in a minute"
    panel = slice(0, 300)  # rows of the panel x, y
    assert np.median(blue[1][blue[0] < panel.stop]) < np.median(red[1][red[0] < panel.stop])
    assert not complaints(chromium)


def screenshot(browser: Any) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(BytesIO(browser.get_screenshot_as_png())).convert("RGB")).astype(int)


def pixels_like(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Where a colour lies over white, which the map inside the ball is."""
    mixed = 0.65 * np.array(colour) + 0.35 * 255
    return np.nonzero((np.abs(picture - mixed) < 30).all(axis=-1))


def test_a_client_elsewhere_gets_the_state_in_its_link_and_alone_may_read(group: EntryGroup) -> None:
    with neuroglancer_view(group, RESULT, client="https://viewer.example/v3/") as shown:
        address, _, state = shown.link.partition("#!")
        assert address == "https://viewer.example/v3/"
        assert json.loads(unquote(state)) == shown.state
        headers = fetched(f"{shown.data.url}/map/zarr.json")[1]
        assert headers["Access-Control-Allow-Origin"] == "https://viewer.example"
    with pytest.raises(urllib.error.URLError):
        fetched(f"{shown.data.url}/map/zarr.json")


def test_an_entry_without_a_result_or_with_an_empty_one_shows_its_map(tmp_path: Path) -> None:
    group = Store(tmp_path).create("a", {})
    written(group, "map", np.ones((5, 5, 5), dtype=np.float32), Grid((5, 5, 5), (1.0, 1.0, 1.0)))
    with neuroglancer_view(group, client="http://localhost:1/") as shown:
        assert len(shown.state["layers"]) == 1
    written(group, RESULT, np.zeros((5, 5, 5), dtype=np.float32), Grid((5, 5, 5), (1.0, 1.0, 1.0)))
    with neuroglancer_view(group, client="http://localhost:1/") as shown:
        assert len(shown.state["layers"]) == 1


def test_what_cannot_be_shown_is_refused_before_anything_is_served(
    group: EntryGroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("served")

    monkeypatch.setattr(view, "served", refused)
    for kind, error, words in (
        ("map", UsageError, "only a local resolution"),
        ("local_resolution/none@1", StoreError, "has no local_resolution/none@1"),
    ):
        with pytest.raises(error, match=words), neuroglancer_view(group, kind):
            pass
    for client in ("viewer.example", "file:///etc/passwd", "javascript:alert(1)", "https://"):
        with pytest.raises(UsageError, match="a client is an address"), neuroglancer_view(group, client=client):
            pass
    with pytest.raises(StoreError, match="has no map"), neuroglancer_view(Store(tmp_path).create("e", {})):
        pass


def test_without_neuroglancer_one_is_told_what_to_install(group: EntryGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "neuroglancer", None)
    with pytest.raises(UsageError, match=r"pip install 'emres\[view\]'"), neuroglancer_view(group):
        pass


def test_without_a_display_no_browser_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not open_in_browser("http://127.0.0.1:1/")
    monkeypatch.setenv("DISPLAY", ":0")
    assert open_in_browser(tmp_path / "a b.html")
    assert opened == [f"{tmp_path.as_uri()}/a%20b.html"]
