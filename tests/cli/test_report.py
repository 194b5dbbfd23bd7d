from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emres.archive.mrc import read_mrc
from emres.archive.mrc_write import write_mrc


@pytest.fixture
def local(small_map: Path, tmp_path: Path) -> Path:
    volume = read_mrc(small_map)
    return write_mrc(tmp_path / "local.mrc", volume.copy(data=np.where(volume.values > 0.5, np.float32(4), 0)))


def test_a_report_of_a_map_and_a_file(emres, small_map: Path, local: Path, tmp_path: Path) -> None:
    out = tmp_path / "pages" / "report.html"
    ended = emres("report", small_map, "--local-resolution", local, "-o", out)
    assert ended.code == 0, ended.err
    assert "local; 0." in ended.out
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


def test_a_report_speaks_json(emres, small_map: Path, local: Path, tmp_path: Path) -> None:
    facts = emres("report", small_map, "--local-resolution", local, "-o", tmp_path / "r.html", "--json").json
    assert facts["results"] == ["local"]
    assert facts["output"] == str(tmp_path / "r.html")
    assert facts["bytes"] == (tmp_path / "r.html").stat().st_size


def test_a_report_is_named_after_its_source(emres, small_map: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert emres("import", small_map, "--name", "EMD-1", "--to", "store").code == 0
    assert emres("report", small_map).code == 0
    assert emres("report", "store/EMD-1.zarr").code == 0
    assert {path.name for path in tmp_path.glob("*.html")} == {"small_report.html", "EMD-1_report.html"}


def test_without_a_local_resolution_the_command_says_how_to_get_one(emres, small_map: Path, tmp_path: Path) -> None:
    ended = emres("report", small_map, "-o", tmp_path / "r.html")
    assert ended.code == 0
    assert "emres predict" in ended.out


def test_a_report_never_replaces_a_file_unless_told(emres, small_map: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    out.write_text("precious")
    refused = emres("report", small_map, "-o", out)
    assert (refused.code, out.read_text()) == (2, "precious")
    assert "--force" in refused.err
    assert emres("report", small_map, "-o", out, "--force").code == 0


def test_a_report_that_cannot_be_written_says_why(emres, small_map: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = emres("report", small_map, "-o", tmp_path / "file" / "r.html")
    assert ended.code == 1
    assert "cannot be written" in ended.err
