"""The notebooks run from first cell to last, offline, and lie in the repository without a session's noise."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import nbformat
import pytest

from tests.notebooks import NOTEBOOKS, ROOT, clean, execute

LARGEST = 150_000  # bytes of one output: a picture, no more
EVERY = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@EVERY
def test_it_runs_offline_from_a_clean_state_and_its_outputs_are_small(path: Path, tmp_path: Path) -> None:
    # An address that nothing answers at: whoever forgets that a notebook is offline hears of it.
    offline = {"EMRES_MIRROR": "https://127.0.0.1:9", "EMRES_API": "https://127.0.0.1:9", "OMP_NUM_THREADS": "1"}
    outputs = execute(path, tmp_path, EMRES_MODELS=str(tmp_path / "models"), **offline)
    assert any(outputs)
    for output in (output for cell in outputs for output in cell):
        assert len(json.dumps(output)) < LARGEST, output.output_type
        assert output.get("name") != "stderr", output.text


@EVERY
def test_what_is_committed_is_what_a_person_wrote(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == clean(text, path.stem), "python -m tests.notebooks"
    assert len(text) < 16_000


@EVERY
def test_its_code_is_python_of_our_line_length(path: Path) -> None:
    for source in code(path):
        ast.parse(re.sub(r"%pip .*", "pass", source))
        assert max(map(len, source.splitlines())) <= 120


@EVERY
def test_it_is_a_page_of_the_site(path: Path) -> None:
    assert f": notebooks/{path.stem}.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_the_noise_of_a_session_is_taken_out() -> None:
    path = NOTEBOOKS[0]
    written = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(written, as_version=4)
    notebook.metadata["widgets"] = {"state": 1}
    for cell in notebook.cells:
        cell.metadata["scrolled"] = True
        if cell.cell_type == "code":
            cell.execution_count = 7
            cell.outputs = [nbformat.v4.new_output("stream", text="secret")]
    assert clean(nbformat.writes(notebook), path.stem) == written
