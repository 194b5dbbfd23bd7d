"""docs/reports.md tells the truth: its commands run, one after the other, and what they promise is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from emres.cli.app import app, run
from tests.run.atomic_models import write_model

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "reports.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line.split("  #")[0] for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines]


def test_what_is_typed_runs_from_the_first_line_to_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    write_model(tmp_path / "1tr2.cif.gz".replace("cif", "pdb"), atoms=900, radius=18)
    for words in commands():
        if "--neuroglancer" in words:  # serves until it is interrupted: its own tests do
            app.commands[words[0]].make_context(words[0], words[1:])
            continue
        typed = [word.replace("1tr2.cif.gz", "1tr2.pdb.gz") for word in words]
        assert run(typed) == 0, shlex.join(typed)
    for name in (
        "EMD-6824_report.html", "mine.html", "1tr2-1_report.html", "index.html", "entries.csv", "local_resolution.png",
        "for_chimerax/EMD-6824.cxc", "surface.glb", "histogram.json", "filled.mrc",
    ):  # fmt: skip
        assert (tmp_path / name).stat().st_size > 0, name
    assert "fsc-dense" in (tmp_path / "1tr2-1_report.html").read_text(encoding="utf-8")
    [cell], scope = blocks("python"), {}
    exec(compile(cell, "reports.md", "exec"), scope)
    assert "<img" in scope["entry"]._repr_html_()
    assert scope["figure"]._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", PAGE))
def test_every_picture_is_there_and_small(target: str) -> None:
    assert (DOCS / target).stat().st_size < 200_000


def test_pictures_are_no_burden() -> None:
    assert sum(path.stat().st_size for path in (DOCS / "images").iterdir()) < 1_000_000
