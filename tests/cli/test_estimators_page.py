"""docs/estimators.md tells the truth: each of its commands runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emres.archive.mrc import read_mrc
from emres.archive.mrc_write import write_mrc
from emres.volume.grid import make_volume
from tests.run.conftest import toy_density
from tests.run.halves import TOY, write_halves

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/estimators.md").read_text(encoding="utf-8")
LINES = [
    line.split("  #")[0] for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the page's commands name."""
    folder = tmp_path_factory.mktemp("page")
    files = write_halves(folder)
    files["half_map_1"].rename(folder / "half1.mrc")
    files["half_map_2"].rename(folder / "half2.mrc")
    write_mrc(folder / "mask.mrc", make_volume((toy_density(TOY) > 0.3).astype(np.float32), TOY))
    return folder


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("emres ")])
def test_every_command_of_the_page_runs(line: str, emres, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    words = shlex.split(line)[1:]
    ended = emres(*words)
    assert ended.code == 0, ended.err
    values = read_mrc(folder / words[words.index("-o") + 1]).values
    assert np.isfinite(values).all()
    assert values.max() > 0


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("python -m ")])
def test_every_benchmark_of_the_page_is_there(line: str) -> None:
    _, _, module, *options = shlex.split(line)
    told = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert all(option in told.stdout for option in options if option.startswith("--"))


def test_every_line_of_the_page_is_one_of_these() -> None:
    assert all(line.startswith(("emres ", "python -m ")) for line in LINES)
