"""The shipped model's own recipe, at toy size: balls of atoms become a model with a card, twice the same."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from emres.archive.manifest import read_dataset
from emres.model.bundle import open_bundle
from tests.run.atomic_models import write_models

WORKFLOW = Path(__file__).parents[2] / "workflows" / "train_reference_model.py"
CONFIG = """
batch = 4
parts = 2
side = 16
margin = 2
epoch_steps = 4
validation_patches = 8
handled = 1
level_steps = 2
stripped = 1
device = "cpu"
[arguments]
channels = 4
deep_channels = 4
deep_layers = 1
bands = 2
"""


ABLATIONS, REACH = (WORKFLOW.with_name(name) for name in ("ablate_levels.py", "ablate_reach.py"))


def run(work: Path, models: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    command = [str(models), "--to", str(work), "--recipe", "plain", "--count", "1", "--deposits", "2", "--steps", "3"]
    command += ["--config", str(config), "--most", "1", "--few", "0", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", ["train", *command])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(WORKFLOW), run_name="__main__")
    return int(ended.value.code or 0)


def test_models_become_a_model_that_states_what_it_was_measured_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"ball{k}.pdb" for k in range(5)]
    models = write_models(tmp_path / "models", *names, families={name: str(k) for k, name in enumerate(names)})
    config = tmp_path / "small.toml"
    config.write_text(CONFIG)
    assert run(tmp_path / "work", models, config, monkeypatch) == 0
    told = capsys.readouterr().out
    assert "trained: 3 steps" in told
    dataset = read_dataset(tmp_path / "work/set")
    assert {frozenset(row.densities) for row in dataset.rows} == {frozenset({"map", "map_2", "average"})}
    bundle = open_bundle(tmp_path / "work/emres-reference")
    assert bundle.contract.conditioned
    assert bundle.contract.training["seed"] == 0
    card = (tmp_path / "work/emres-reference/card.md").read_text()
    assert "Held-out" in card
    assert (tmp_path / "work/evaluation/evaluation.md").is_file()
    before = (tmp_path / "work/emres-reference/weights.safetensors").read_bytes()
    assert run(tmp_path / "work", models, config, monkeypatch) == 0
    assert (tmp_path / "work/emres-reference/weights.safetensors").read_bytes() == before
    ablated(tmp_path / "work", monkeypatch)
    ablated_by_reach(tmp_path / "work", monkeypatch)


def ablated(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What levels are read from is measured, and noted for the card."""
    model = work / "emres-reference"
    monkeypatch.setattr("emres.run.train_lessons.FEWEST", 2)  # the balls are small
    arguments = ["ablate", str(work / "set"), "--into", str(model), "--steps", "2", "--place-steps", "2"]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(str(ABLATIONS), run_name="__main__")
    for what, left_out in (("levels", "spectrum alone"), ("one reader of places", "nothing of the place")):
        table = open_bundle(model).contract.training[f"error of {what}, learnt in 2 steps, Å, validation side"]
        assert set(table) >= {"all", left_out}
        assert set(table["all"]) == {"averages, blind", "averages, told", "deposits, blind", "deposits, told"}
        assert all(error >= 0 for row in table.values() for error in row.values())
    (reach,) = (table for name, table in open_bundle(model).contract.training.items() if "farther and nearer" in name)
    assert len(reach) == 3
    assert all(errors["blind"] > 0 and errors["told"] > 0 for errors in reach.values())


def ablated_by_reach(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nets that see farther and nearer are measured beside what all of them start from."""
    model = work / "emres-reference"
    arguments = [
        "ablate",
        str(work / "set"),
        "--into",
        str(model),
        "--steps",
        "1",
        "--patches",
        "8",
        "--layers",
        "0",
        "2",
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(str(REACH), run_name="__main__")
    (table,) = (found for name, found in open_bundle(model).contract.training.items() if "see so far" in name)
    assert list(table) == ["none: readers alone", "16 voxels", "24 voxels"]
    assert all(row["error"] > 0 for row in table.values())
