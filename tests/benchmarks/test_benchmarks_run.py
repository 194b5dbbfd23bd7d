from __future__ import annotations

import json
import math
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from benchmarks.__main__ import main, names
from benchmarks.report import Row, markdown

OURS = (
    "estimators",
    "export",
    "fetch",
    "ingest",
    "loader",
    "many",
    "memory",
    "predecessor",
    "prediction_overhead",
    "simulate",
    "sliding_window",
    "startup",
    "workers",
)
# What another program or package is needed for, and whether it is here.
NEEDS = {"fetch": lambda: shutil.which("curl"), "sliding_window": lambda: find_spec("monai")}


def test_every_benchmark_is_found() -> None:
    assert set(OURS) <= set(names())


@pytest.mark.parametrize("name", OURS)
def test_a_benchmark_runs_at_toy_size(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if name in NEEDS and not NEEDS[name]():
        pytest.skip(f"what {name} is held against is not installed")
    threads = torch.get_num_threads()
    assert main([name, "--small", "--json", str(tmp_path / "figures.json")]) == 0
    assert torch.get_num_threads() == threads  # or the next would be measured on others than asked for
    rows = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert rows
    assert all(row["benchmark"] == name and math.isfinite(row["value"]) for row in rows)
    # A net in blocks may be at no distance at all from the same in one go.
    assert all(row["value"] > 0 or (row["what"].startswith("distance") and row["value"] == 0) for row in rows)
    printed = capsys.readouterr()
    assert all(row["what"] in printed.out for row in rows)
    assert f"{name} (1 of 1)" in printed.err


def test_what_could_not_be_measured_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.sliding_window.find_spec", lambda name: None)
    assert main(["sliding_window", "--json", str(tmp_path / "figures.json")]) == 0
    assert "|  |  |  | MONAI is not installed" in capsys.readouterr().out
    assert json.loads((tmp_path / "figures.json").read_text())["rows"][0]["value"] is None


def test_the_table_tells_what_was_wanted_and_whether_it_was_met() -> None:
    table = markdown([("a", Row("good", 1.0, 1.1)), ("a", Row("bad", 1.2, 1.1)), ("a", Row("told", 3.0, unit="s"))])
    good, bad, told = table.splitlines()[2:]
    assert "| <= 1.1 | yes |" in good
    assert "| <= 1.1 | NO |" in bad
    assert "**3.00** s |  |  |" in told


def test_a_benchmark_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sped"])
    assert "no benchmark sped" in capsys.readouterr().err
