"""The cells of a small notebook, one after the other, as a reader would run them."""

from __future__ import annotations

import re
import subprocess
import sys
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from emres.archive.store import Store
from emres.volume.grid import Grid
from tests.archive.volumes import written
from tests.view.test_accessor import Notebook

GRID = Grid((40, 40, 40), (2.0, 2.0, 2.0))

CELLS = [
    "import emres",
    "mirror = emres.embedded_mirror()",
    "names = [entry for entry in __import__('emres.archive.emdb').archive.emdb.all_ids(mirror)][:1]",
    "emres.fetch(names, to=store, mirror=mirror)",
    "emres.batch_predict(names, to=store, mirror=mirror)",
    "entry = emres.open_entry(store / f'{names[0]}.zarr'); entry",
    "volume = emres.open_volume(entry.path); resolution = emres.open_volume(entry.path, entry.results()[0])",
    "volume.emres.plot(resolution)",
    "emres.estimate(volume[::2, ::2, ::2], 'monores')",
]


def test_a_notebook_shows_bars_tables_slices_and_histograms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    notebook, names = Notebook().into(monkeypatch), {"store": tmp_path}
    for cell in CELLS:
        exec(cell, names)
    assert [html for html in notebook.shown if "1 of 1 entries" in html]
    assert [html for html in notebook.shown if "1 of 1 maps" in html]
    assert "1 of 1 estimate" in notebook.shown[-1]
    html = names["entry"]._repr_html_()
    assert colourful(picture_in(html)) > 0.05
    assert names["volume"].emres.plot(names["resolution"])._repr_png_().startswith(b"\x89PNG")


def picture_in(html: str) -> np.ndarray:
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return imread(BytesIO(b64decode(data)))[..., :3]


def colourful(picture: np.ndarray) -> float:
    return float((np.ptp(picture, axis=-1) > 0.2).mean())


def test_an_entry_with_a_map_alone_or_nothing_resolved_has_its_table(tmp_path: Path) -> None:
    import emres

    group = emres.Store(tmp_path).create("a", {"resolution": 3.0})
    assert "<img" not in group._repr_html_()
    written(group, "map", np.random.default_rng(0).normal(size=GRID.shape).astype(np.float32), GRID)
    assert colourful(picture_in(group._repr_html_())) == 0
    written(group, "local_resolution/a@1", np.zeros(GRID.shape, np.float32), GRID)
    html = group._repr_html_()
    assert "local_resolution/a@1" in html
    assert "<img" not in html


def test_whoever_opens_an_entry_by_its_module_gets_the_table_alone(tmp_path: Path) -> None:
    """The archive draws nothing: the picture comes with the public names."""
    written(Store(tmp_path).create("a", {}), "map", np.ones(GRID.shape, np.float32), GRID)
    code = f"""
from pathlib import Path
from emres.archive.store import Store
html = Store(Path({str(tmp_path)!r})).entry("a")._repr_html_()
assert "<table>" in html and "<img" not in html
import emres
emres.Store
assert "<img" in Store(Path({str(tmp_path)!r})).entry("a")._repr_html_()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
