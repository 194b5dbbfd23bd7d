"""``volume.emres`` in a notebook."""

from __future__ import annotations

import sys
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import dask.array as da
import numpy as np
import pytest
from matplotlib.image import imread

from emres.errors import MapError, UsageError
from emres.view import accessor
from emres.volume.grid import Grid, make_volume
from tests.view.test_slices import pair


class Notebook:
    """As much of IPython as a progress bar needs; it keeps what is shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def display(self, html: str, display_id: bool = False) -> Any:
        self.shown.append(html)
        return SimpleNamespace(update=self.shown.append)

    def into(self, monkeypatch: pytest.MonkeyPatch) -> Notebook:
        shell = SimpleNamespace(kernel=object())
        display = SimpleNamespace(HTML=str, display=self.display)
        made = SimpleNamespace(get_ipython=lambda: shell, display=display, version_info=(9, 0))
        monkeypatch.setitem(sys.modules, "IPython", made)
        monkeypatch.setitem(sys.modules, "IPython.display", display)
        return self


def drawn(figure: Any) -> np.ndarray:
    return imread(BytesIO(figure._repr_png_()))[..., :3]


def colourful(picture: np.ndarray) -> float:
    return float((np.ptp(picture, axis=-1) > 0.2).mean())


def test_map_and_resolution_are_drawn_together_whichever_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    volume, resolution = pair()
    picture = drawn(volume.emres.plot(resolution, reported=4.0))
    np.testing.assert_array_equal(picture, drawn(resolution.emres.plot(volume, reported=4.0, title="map, test@1")))
    assert picture.shape[1] > 2 * picture.shape[0] > 400
    assert colourful(picture) > 0.05


def test_a_map_alone_is_gray_and_a_resolution_alone_coloured() -> None:
    volume, resolution = pair()
    assert colourful(drawn(volume.emres.plot())) == 0
    assert colourful(drawn(resolution.emres.plot())) > 0.05
    level = drawn(volume.assign_attrs(contour_level=2.0).emres.plot())
    assert not np.array_equal(level, drawn(volume.emres.plot()))


@pytest.mark.parametrize("shape", [(1, 30, 40), (5, 300, 31)])
def test_odd_maps_are_drawn_flat_ones_and_such_with_holes_too(shape: tuple[int, int, int]) -> None:
    grid = Grid(shape, (2.0, 1.0, 1.3))
    values = np.random.default_rng(4).uniform(3, 7, size=shape).astype(np.float32)
    for content in (values, np.zeros(shape, np.float32), np.where(values > 5, np.nan, values)):
        assert (drawn(make_volume(content, grid).emres.plot()) < 0.9).any()
    assert colourful(drawn(make_volume(values, grid, kind="local_resolution/a@1").emres.plot())) > 0.01


def test_of_a_big_map_a_part_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accessor, "_MOST", 20)
    volume, resolution = pair((60, 64, 70))
    thinned = accessor._thinned(resolution)
    assert max(thinned.shape) <= 20
    assert thinned.emres.grid.voxel_size == pytest.approx((6.0, 6.0, 6.0))
    assert colourful(drawn(volume.emres.plot(resolution))) > 0.05


def test_what_cannot_be_drawn_is_told() -> None:
    volume, resolution = pair()
    with pytest.raises(UsageError, match="drawn together: got two maps"):
        volume.emres.plot(volume)
    with pytest.raises(UsageError, match="two local resolutions"):
        resolution.emres.plot(resolution)
    with pytest.raises(UsageError, match="not a volume"):
        volume.isel(z=3).emres.plot()
    with pytest.raises(MapError, match="no resolved voxel"):
        volume.emres.plot(resolution.copy(data=0 * resolution.values))


def test_computing_shows_a_bar_that_fills_and_gives_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook().into(monkeypatch)
    monkeypatch.setattr("emres.view.progress._EVERY", 0)
    volume, _ = pair()
    lazy = volume.copy(data=da.from_array(volume.values, chunks=20) + 1)
    np.testing.assert_array_equal(lazy.emres.compute().values, volume.values + 1)
    assert "0 of 1 volume" in notebook.shown[0]
    assert "1 of 1 volume" in notebook.shown[-1]
    assert any("map: compute" in html for html in notebook.shown)
