"""Run the scripts of ``workflows/`` in this process: a new one would load torch anew every time."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

import emres

ROOT = Path(__file__).parents[2]


def run(name: str, *options: object, monkeypatch: pytest.MonkeyPatch) -> int | str:
    """Run ``workflows/<name>.py`` as from a shell; return what it ends with: an exit code, or its last words."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, options)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "workflows" / f"{name}.py"), run_name="__main__")
    return ended.value.code or 0


def assert_public_and_short(name: str) -> None:
    """A recipe has less than 80 lines, and whoever copies it needs nothing but public names."""
    text = (ROOT / "workflows" / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) < 80
    assert "from emres" not in text
    assert set(re.findall(r"\bemres\.([a-zA-Z_]+)", text.partition("import argparse")[2])) <= set(emres.__all__)
