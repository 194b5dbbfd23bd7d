"""The recipe for a training set from the archive runs end to end, at toy size, on a mirror of simulated half maps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emres.archive.manifest import read_dataset
from emres.run.simulate import simulate_maps
from tests.mirror import build_mirror, search_interface
from tests.run.atomic_models import write_models

ROOT = Path(__file__).parents[2]
RECIPE = {"like": "low-resolution", "framing": {"padding": 14.0}}
KINDS = ("map", "half_map_1", "half_map_2")
QUERY = "resolution:[2 TO 6]"
FOUND = ["EMD-0001", "EMD-0002", "EMD-0003"]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two entries with half maps, and one without."""
    root = tmp_path_factory.mktemp("archive")
    models = write_models(root / "models", "1.pdb", "2.pdb")
    simulate_maps([models / "1.pdb", models / "2.pdb"], output=root / "p", half_maps=True, recipe=RECIPE)
    maps = {f"EMD-000{n}": {kind: root / f"p_{n}-1_{kind}.mrc" for kind in KINDS} for n in (1, 2)}
    build_mirror(root / "mirror", {**maps, "EMD-0003": {"map": maps["EMD-0001"]["map"]}})
    return root / "mirror"


def run(mirror: Path, to: Path, *options: str) -> str:
    command = [sys.executable, str(ROOT / "workflows/training_set_from_emdb.py"), "--to", str(to), "--query", QUERY]
    with search_interface(QUERY, FOUND) as api:
        environment = {**os.environ, "EMRES_API": api, "EMRES_MIRROR": str(mirror)}
        done = subprocess.run([*command, *options], check=True, capture_output=True, env=environment, cwd=to.parent)
    return done.stdout.decode()


def test_a_query_becomes_a_data_set_and_the_same_command_changes_nothing(mirror: Path, tmp_path: Path) -> None:
    told = run(mirror, tmp_path / "set", "--cluster", "local:1")
    dataset = read_dataset(tmp_path / "set")
    assert [row.entry for row in dataset.rows] == ["EMD-0001", "EMD-0002"]
    assert all(row.densities == ("map", "average") and row.voxels > 500 for row in dataset.rows)
    assert "left out: EMD-0003: EMD-0003 has no half maps" in told
    before = (tmp_path / "set/dataset.json").read_bytes()
    run(mirror, tmp_path / "set")
    assert (tmp_path / "set/dataset.json").read_bytes() == before


def test_the_recipe_is_short_and_uses_public_names_alone() -> None:
    text = (ROOT / "workflows/training_set_from_emdb.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 80
    assert "from emres" not in text
