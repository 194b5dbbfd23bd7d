"""``emres view``: what it prints, where it serves, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ended


@pytest.fixture
def entry(emres: Callable[..., Ended], small_map: Path, tmp_path: Path) -> Path:
    assert emres("import", small_map, "--name", "mine", "--to", tmp_path).code == 0
    return tmp_path / "mine.zarr"


def started(*arguments: object) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-m", "emres", "view", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_the_link_is_printed_and_serves_until_ctrl_c(entry: Path) -> None:
    pytest.importorskip("neuroglancer", reason="neuroglancer is not installed: pip install 'emres[view]'")
    process = started(entry, "--neuroglancer")
    link = process.stdout.readline().strip()
    assert link.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(link, timeout=5) as answer:
        assert b"<script" in answer.read()
    assert "for this machine alone" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out.splitlines()[-1], err) == (0, "ended", "")


def test_json_tells_link_and_port(entry: Path) -> None:
    process = started(entry, "--client", "http://viewer.example/", "--json")
    told = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
    assert told["link"].startswith("http://viewer.example/#!")
    assert told["data"].startswith(f"http://127.0.0.1:{told['port']}/")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0


def test_without_a_display_the_report_is_written_and_its_path_told(
    emres: Callable[..., Ended], entry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    told = emres("view", entry, "-o", tmp_path / "report.html", "--json").json
    assert told == {"output": str(tmp_path / "report.html"), "opened": False}
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    ended = emres("view", entry, "-o", tmp_path / "report.html")
    assert (ended.code, "exists already" in ended.err) == (2, True)


@pytest.mark.parametrize("flags", [(), ("--neuroglancer",), ("--client", "http://localhost:1/")])
def test_an_entry_that_is_not_there_is_told(
    emres: Callable[..., Ended], tmp_path: Path, flags: tuple[str, ...]
) -> None:
    ended = emres("view", tmp_path / "none.zarr", *flags)
    assert ended.code in (1, 2)
    assert "there is no" in ended.err
    assert not list(tmp_path.iterdir())
