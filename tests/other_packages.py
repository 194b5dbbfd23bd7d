"""Other people's packages, as they lie in site-packages: what plugins are tested with."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from textwrap import dedent

import pytest


def install(
    site: Path, monkeypatch: pytest.MonkeyPatch, name: str, points: str, code: str = "", version: str = "1.2"
) -> Path:
    """Install a package of one module, named like it, with the given entry points; return the module's file."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(dedent(points))
    module = site / f"{name.replace('-', '_')}.py"
    module.write_text(dedent(code))
    if str(site) not in sys.path:
        monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, module.stem, raising=False)
    return module
