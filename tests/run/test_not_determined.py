"""What a method could not determine (ResMap's 100, or NaN) is nowhere taken for a number of Å."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emres.archive.store import EntryGroup, Store
from emres.archive.writer import VolumeWriter
from emres.run.batch_table import batch_rows
from emres.run.export_shown import export_shown
from emres.run.prepare import Summary
from emres.run.report import report
from emres.run.shown import shown_entry
from emres.view.surface import surface
from emres.volume.grid import Grid
from tests.archive.volumes import written
from tests.run.test_report import data_of

GRID = Grid((48, 48, 48), (2.0, 2.0, 2.0))
KIND = "local_resolution/resmap"
RADIUS = 30.0  # Å


@pytest.fixture(params=[100.0, np.nan], ids=["100", "NaN"])
def group(tmp_path: Path, request: pytest.FixtureRequest) -> EntryGroup:
    """A ball of 4 and 5 Å (along x) whose upper half (along z) was not determined."""
    z, y, x = np.meshgrid(*(np.arange(48) * 2.0 - 47 for _ in range(3)), indexing="ij")
    distance = np.sqrt(z**2 + y**2 + x**2)
    made = Store(tmp_path / "store").create("a", {"title": "A", "resolution": 4.5})
    written(made, "map", np.clip((RADIUS - distance) / 8 + 0.5, 0, 1).astype(np.float32), GRID)
    found = np.where(x < 0, 4, 5)
    values = np.where(distance < RADIUS + 4, np.where(z > 0, request.param, found), 0).astype(np.float32)
    summary = Summary()
    summary.add(values)
    with VolumeWriter(made, KIND, GRID) as writer:
        writer.add(0, values)
        writer.commit({"model": "resmap", "method": "resmap", "source_kind": "map", "date": "", **summary.result()})
    return made


def test_statistics_and_the_row_of_a_table_are_of_the_rest(group: EntryGroup) -> None:
    known = int((np.isin(group.array(KIND)[...], (4, 5))).sum())
    (row,) = batch_rows(group.path.parent)
    assert row.voxels == known
    assert row.p05 == pytest.approx(4, abs=0.011)
    assert row.p95 == pytest.approx(5, abs=0.011)
    assert row.median is not None
    assert 4 <= row.median <= 5.01


def test_coarser_levels_hold_means_of_the_rest_or_the_mark(group: EntryGroup) -> None:
    for level in range(1, group.levels(KIND)):
        values = np.asarray(group.array(KIND, level)[...])
        between = values[(values != 0) & (values != 100)]
        assert between.min() >= 4
        assert between.max() <= 5
        assert (values == 100).any()


def test_the_archives_histogram_and_the_scale_of_pictures_span_the_rest(group: EntryGroup, tmp_path: Path) -> None:
    shown = shown_entry(group, KIND)
    told = json.loads(export_shown(shown, tmp_path / "h.json", "json").path.read_text(encoding="utf-8"))
    assert told["minmax"] == {"min": 4, "max": 5}
    scale = shown.palette()
    assert (scale.low, scale.high) == (4, 5)
    mesh = surface(*shown.small[:1], 0.5, shown.small[1])
    colours = scale(mesh.resolution)
    height = mesh.vertices[:, 0] - 47
    gray = np.ptp(colours, axis=1) < 0.01
    assert gray[height > 14].all()  # below, within five voxels, the nearest answer is carried on
    assert not gray[height < 0].any()


def test_a_report_counts_it_and_leaves_it_out(group: EntryGroup, tmp_path: Path) -> None:
    report(group.path, tmp_path / "r.html")
    (result,) = data_of(tmp_path / "r.html")["results"]
    assert result["limits"] == [4, 5]
    assert (result["low"], result["high"]) == (4, 5)
    assert result["voxels"] == group.attributes(KIND)["voxels"]
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert '<td class="number">50.0%</td>' in page


def test_a_notebook_draws_the_rest(group: EntryGroup) -> None:
    import emres

    assert "<img" in emres.open_entry(group.path)._repr_html_()
