"""The sweep over the archive runs end to end on the maps that ship with emres, and goes on after a stop."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emres import embedded_mirror
from tests.mirror import search_interface
from tests.run.workflows import ROOT, assert_public_and_short, run

QUERY = "resolution:[2 TO 60]"
FOUND = ["EMD-3197", "EMD-1832", "EMD-9999"]


def sweep(
    to: Path, model: Path, *options: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int | str, str]:
    with search_interface(QUERY, FOUND) as api:
        monkeypatch.setenv("EMRES_API", api)
        monkeypatch.setenv("EMRES_MIRROR", embedded_mirror().root)
        ended = run("emdb_sweep", "--to", to, "--query", QUERY, "--model", model, *options, monkeypatch=monkeypatch)
    return ended, capsys.readouterr().out


def test_a_query_becomes_maps_and_a_page_and_the_same_command_does_nothing_twice(
    tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended, told = sweep(tmp_path, toy_model, monkeypatch=monkeypatch, capsys=capsys)
    assert ended == 3
    assert "failed: EMD-9999: there is no entry EMD-9999" in told
    assert "1/3 EMD-3197: done" in told
    names = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert names == ["EMD-1832_local_resolution.mrc", "EMD-3197_local_resolution.mrc"]
    assert "EMD-9999" in (tmp_path / "index.html").read_text(encoding="utf-8")
    with (tmp_path / "index.csv").open(encoding="utf-8") as stream:
        status = {row["name"]: row["status"] for row in csv.DictReader(stream)}
    assert status["EMD-9999"] == "failed"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "maps").iterdir()}

    # The archive is not asked again: the list is the answer.
    monkeypatch.setattr("emres.search", lambda *_: pytest.fail("asked again"))
    ended, told = sweep(tmp_path, toy_model, monkeypatch=monkeypatch, capsys=capsys)
    assert ended == 3
    assert "EMD-3197: skipped" in told
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "maps").iterdir()} == before


def test_a_list_in_place_of_a_query_and_a_limit(
    tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ids.txt").write_text("\n# small ones\nemd_3197 # the smallest\nemd_3197\nEMD-1832\n")
    ended, told = sweep(
        tmp_path / "to", toy_model, "--list", str(tmp_path / "ids.txt"), "--limit", "1",
        monkeypatch=monkeypatch, capsys=capsys,
    )  # fmt: skip
    assert ended == 0
    assert "1 of 1 entries" in told
    assert not (tmp_path / "to/ids.txt").exists()


def test_what_cannot_work_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "to"
    for options in (("--list", "none.txt"), ("--mirror", str(tmp_path / "nowhere"))):
        ended, _ = sweep(to, toy_model, *options, monkeypatch=monkeypatch, capsys=capsys)
        assert str(ended).startswith("error: ")
        assert len(str(ended).splitlines()) == 1
    assert not to.exists()


def test_killed_in_the_middle_it_goes_on(tmp_path: Path, toy_model: Path) -> None:
    (tmp_path / "ids.txt").write_text("EMD-3197\nEMD-1832\nEMD-1461\n")
    command = [sys.executable, str(ROOT / "workflows/emdb_sweep.py"), "--to", str(tmp_path / "to")]
    command += ["--list", str(tmp_path / "ids.txt"), "--model", str(toy_model), "--mirror", embedded_mirror().root]
    first = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    done = tmp_path / "to/maps/EMD-3197_local_resolution.mrc"
    while first.poll() is None and not done.exists():
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = done.stat().st_mtime_ns
    second = subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert b"EMD-3197: skipped" in second.stdout
    assert b"3 of 3 entries" in second.stdout
    assert done.stat().st_mtime_ns == before


def test_the_recipe_is_short_and_uses_public_names_alone() -> None:
    assert_public_and_short("emdb_sweep.py")
