"""Pages that are made while the site is built, so that none can be out of date: commands, Python, card, notebooks.

A hook of mkdocs (see mkdocs.yml). Nothing here is imported by emres.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

import emres
from emres.archive.registry import DEFAULT_MODEL, find_model
from emres.cli.app import app

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to those that lie in docs/."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    for path in NOTEBOOKS:
        files.append(File.generated(config, f"notebooks/{path.name}", abs_src_path=str(path)))
    return files


def pages() -> dict[str, str]:
    """Return the text of every page that is made, by its name."""
    return {
        "cli.md": commands_page(),
        "api.md": python_page(),
        "card.md": copied(find_model(DEFAULT_MODEL) / "card.md"),
        "benchmarks.md": copied(ROOT / "benchmarks/README.md"),
        "changes.md": copied(ROOT / "CHANGELOG.md"),
        **{f"notebooks/{path.stem}.md": notebook_page(path) for path in NOTEBOOKS},
    }


def commands_page() -> str:
    """Return every command with its ``--help``."""
    parts = ["# Commands\n\nAs `emres COMMAND --help` shows them; made from the code."]
    for name, text in commands():
        parts.append(f"## {name}\n\n```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def commands(command: click.Command = app, name: str = "emres") -> Iterator[tuple[str, str]]:
    """Yield every command's full name and its help."""
    context = click.Context(command, info_name=name, terminal_width=100, max_content_width=100)
    yield name, command.get_help(context)
    for below, inner in sorted(getattr(command, "commands", {}).items()):
        yield from commands(inner, f"{name} {below}")


def python_page() -> str:
    """Return a page that names every public name where it is written; mkdocstrings fills it in."""
    parts = ["# Python\n\nEverything that `import emres` offers; made from the code's own descriptions."]
    for name in sorted(emres.__all__, key=str.lower):
        if name == "__version__":
            continue
        value = getattr(emres, name)
        parts.append(f"::: {value.__module__}.{name}\n    options:\n      heading: emres.{name}")
        assert inspect.getdoc(value), name
    return "\n\n".join(parts) + "\n"


def copied(path: Path) -> str:
    """Return a page of the repository; what it links to beside itself is not on the site, so its name stays alone."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"!\[[^\]]*\]\((?!https?:)[^)]*\)", "", text)
    return re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text)


def notebook_page(path: Path) -> str:
    """Return a notebook to read and copy from; its outputs come when it is run."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = ["".join(cell["source"]) for cell in cells]
    shown = [
        text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for cell, text in zip(cells, parts, strict=True)
    ]
    told = f"*A notebook: [{path.name}]({path.name}), run by the tests. Jupyter or Google Colab opens it.*"
    return "\n\n".join([shown[0], told, *shown[1:]]) + "\n"
