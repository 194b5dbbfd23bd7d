"""The README tells the truth: its Python runs, its commands exist, its files are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from emres.cli.app import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("emres ")]


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [example] = blocks("python")
    scope: dict = {}
    exec(compile(example, "README.md", "exec"), scope)
    assert scope["middle"].max() > 0
    assert (tmp_path / "EMD-6824_local_resolution.mrc").stat().st_size > 70**3 * 4


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_readme_parses(line: str) -> None:
    name, *arguments = shlex.split(line)[1:]
    command = app.commands[name]
    context = command.make_context(name, arguments, resilient_parsing=False)
    assert isinstance(context, click.Context)


def test_the_table_names_every_command_and_no_other() -> None:
    rows = [line for line in README.splitlines() if line.startswith("| `emres ")]
    named = set(re.findall(r"`emres ([a-z-]+)", "\n".join(row.split(" | ")[0] for row in rows)))
    assert named == set(app.commands)


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_what_the_readme_links_to_is_there(target: str) -> None:
    assert target.startswith("http") or (ROOT / target).exists()


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_at_the_top_are_targets_of_the_makefile(target: str) -> None:
    first = blocks("sh")[0]
    assert f"make {target}" in first
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert "make test" in (ROOT / ".ci/run").read_text()
