from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emres.archive.mrc_write import write_mrc
from emres.cli.app import run
from emres.volume.grid import Grid, make_volume
from tests.mirror import build_mirror
from tests.run.conftest import toy_density
from tests.run.conftest import toy_model as toy_model

GRID = Grid((36, 32, 40), (2.1, 2.1, 2.1), (3.0, -4.0, 5.0))


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def emres(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    def call(*arguments: object) -> Ended:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def small_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mrc(tmp_path_factory.mktemp("cli") / "small.mrc", make_volume(toy_density(GRID), GRID))


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory, small_map: Path) -> Path:
    """Two good entries and one whose map is a web page."""
    root = tmp_path_factory.mktemp("mirror")
    flat = write_mrc(root / "flat.mrc", make_volume(np.zeros(GRID.shape, dtype=np.float32), GRID))
    build_mirror(root, {"EMD-0001": small_map, "EMD-0002": small_map, "EMD-0003": flat})
    return root
