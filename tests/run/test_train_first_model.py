"""The training recipe runs end to end, at toy size, and what it writes is a model that predicts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emres.model.bundle import open_bundle
from emres.model.inference import make_predictor

ROOT = Path(__file__).parents[2]
SHARED = ROOT / "../shared/data"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the models and maps of ../shared are not here")
def test_recipe_makes_a_model_with_a_measured_card(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    lines = (SHARED / "maps/maps.tsv").read_text(encoding="utf-8").splitlines()
    chosen = [line for line in lines if line.startswith(("file", "emd_6824", "emd_1439"))]
    (maps / "maps.tsv").write_text("\n".join(chosen) + "\n", encoding="utf-8")
    for line in chosen[1:]:
        shutil.copy(SHARED / "maps" / line.split("\t")[0], maps)
    sizes = ["--counts", "3", "1", "2", "--steps", "2", "--batch", "2", "--threads", "1"]
    where = ["--to", str(tmp_path / "model"), "--work", str(tmp_path / "work")]
    command = [sys.executable, str(ROOT / "workflows/train_first_model.py"), str(SHARED / "models"), str(maps)]
    subprocess.run([*command, *where, *sizes], check=True, capture_output=True, cwd=ROOT)

    bundle = open_bundle(tmp_path / "model")
    training = bundle.contract.training
    assert training["examples"]["train"] <= 3
    assert set(training["families"]) == {"train", "validation", "test"}
    assert training["real_maps"]["maps"] == 2
    card = (tmp_path / "model/card.md").read_text(encoding="utf-8")
    assert "EMD-6824" in card
    assert "own median (constant)" in card
    assert "Where it fails" in card
    answer = make_predictor(tmp_path / "model")(np.ones((8, 8, 8), dtype=np.float32), np.ones((8, 8, 8), dtype=bool))
    assert (answer >= 3.0).all()
