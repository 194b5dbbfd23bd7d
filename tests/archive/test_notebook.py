from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from emres.archive import notebook
from emres.archive.store import EntryGroup, Store
from emres.archive.writer import VolumeWriter
from emres.volume.grid import Grid

GRID = Grid((4, 5, 6), (1.25, 1.25, 1.25))


def filled(store: Store, name: str, title: str = "a protein") -> EntryGroup:
    group = store.create(name, {"title": title})
    values = np.arange(120, dtype=np.float32).reshape(GRID.shape)
    for kind, attributes in (("map", {}), ("local_resolution/net@1", {"median": 3.456})):
        with VolumeWriter(group, kind, GRID) as writer:
            writer.add(0, values)
            writer.commit(attributes)
    return group


def cells(html: str) -> list[list[str]]:
    return [[cell.text or "" for cell in row] for row in ElementTree.fromstring(html).iter("tr")]


def test_an_entry_shows_its_kinds_their_grids_and_the_median(tmp_path: Path) -> None:
    html = filled(Store(tmp_path), "EMD-1")._repr_html_()
    assert "EMD-1: a protein" in html
    assert cells(html)[1:] == [
        ["map", "4 × 5 × 6", "1.250", ""],
        ["local_resolution/net@1", "4 × 5 × 6", "1.250", "3.46"],
    ]


def test_a_store_shows_its_entries_with_or_without_a_map(tmp_path: Path) -> None:
    store = Store(tmp_path)
    filled(store, "EMD-1")
    store.create("EMD-2", {})
    assert cells(store._repr_html_())[1:] == [
        ["EMD-1", "4 × 5 × 6", "1.250", "3.46", "map, local_resolution/net@1"],
        ["EMD-2", "", "", "", ""],
    ]


def test_a_title_is_text_and_never_markup(tmp_path: Path) -> None:
    html = filled(Store(tmp_path), "EMD-1", "<script>alert('x')</script> & co")._repr_html_()
    assert "<script>" not in html
    assert next(ElementTree.fromstring(html).iter("caption")).text.endswith("<script>alert('x')</script> & co")


def test_a_broken_entry_does_not_hide_the_others(tmp_path: Path) -> None:
    store = Store(tmp_path)
    filled(store, "EMD-1")
    (filled(store, "EMD-2").path / "map" / "zarr.json").write_text("{}")
    rows = cells(store._repr_html_())
    assert rows[1][1] == "4 × 5 × 6"
    assert "EMD-2" in rows[2][0]


def test_a_big_store_shows_its_first_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "MOST_ROWS", 2)
    store = Store(tmp_path)
    for number in range(3):
        store.create(f"EMD-{number}", {})
    html = store._repr_html_()
    assert len(cells(html)) == 3
    assert "2 entries, the first of them" in html


def test_what_is_not_there_is_shown_as_such(tmp_path: Path) -> None:
    assert "0 entries" in Store(tmp_path / "none")._repr_html_()
    assert "no such entry" in Store(tmp_path).entry("EMD-9")._repr_html_()
