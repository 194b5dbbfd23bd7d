"""docs/models.md tells the truth: its commands run, one after the other, at toy size; so does the package it shows."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from emres.archive.manifest import DataSet, write_dataset
from emres.archive.mrc import read_mrc
from emres.archive.registry import PUBLISHED, find_model
from emres.archive.store import Store
from emres.model.bundle import build_net, save_bundle
from emres.model.legacy import LegacyUNet
from emres.run.models_fetch import VARIABLE
from emres.run.train_files import TrainFiles
from emres.volume.grid import Grid
from tests.model.conftest import contract
from tests.other_packages import install
from tests.run.atomic_models import write_models
from tests.run.toy_dataset import add_entry

PAGE = (Path(__file__).parents[2] / "docs/models.md").read_text(encoding="utf-8")
SMALL = Grid((30, 32, 34), (1.9, 1.9, 1.9))
TOY_TRAINING = (
    "--steps=2 --batch=2 --threads=0 --set parts=1 --set side=12 --set margin=1 --set voxel_size=1.5 "
    "--set epoch_steps=2 --set validation_patches=2 --set arguments.channels=4 --set arguments.deep_channels=4 "
    "--set arguments.deep_layers=1 --set arguments.bands=2"
)
#: What makes a line of the page small, by its beginning.
TOY = {
    "emres dataset build": "--to built --recipe toy.json",
    "emres train": TOY_TRAINING,
    "emres evaluate": "--few 0",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def lines() -> list[str]:
    return [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]


def write_files(folder: Path) -> None:
    """Write what the page's commands name."""
    store = Store(folder / "set/store")
    sides = {"a": "test", "t": "train", "u": "train", "v": "validation"}
    rows = [add_entry(store, name, grid=SMALL, resolution=5.0, split=split) for name, split in sides.items()]
    write_dataset(DataSet(folder / "set", tuple(rows), {"seed": 0}))
    write_models(folder / "models", "1abc.pdb")
    (folder / "toy.json").write_text('{"like": "low-resolution", "framing": {"padding": 14.0}}')
    torch.manual_seed(1)
    for name, (_, file) in PUBLISHED.items():
        torch.save(LegacyUNet(batchnorm=int(name == "legacy-batchnorm"), filters=2).state_dict(), folder / file)


@pytest.fixture
def folder(tmp_path: Path, small_map: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_files(tmp_path)
    (tmp_path / "map.mrc").write_bytes(small_map.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMRES_MODELS", str(tmp_path / "own"))
    monkeypatch.setenv(VARIABLE, str(tmp_path))  # in place of the network
    # Pictures take longer than everything else together, and have tests of their own.
    monkeypatch.setattr(TrainFiles, "draw", lambda *_: None)
    monkeypatch.setattr("emres.run.evaluate_report._pictures", lambda *_: {})
    return tmp_path


def test_what_is_typed_runs_from_the_first_line_to_the_last(emres, folder: Path) -> None:
    for line in lines():
        toy = next((words for beginning, words in TOY.items() if line.startswith(beginning)), "")
        ended = emres(*shlex.split(f"{line} {toy}")[1:])
        assert ended.code == 0, (line, ended.err)
    for name in ("answer", "legacy", "mine_too", "told", "blind"):
        assert read_mrc(folder / f"{name}.mrc").values.max() > 0, name
    spread = read_mrc(folder / "sd.mrc").values
    assert np.isfinite(spread).all()
    assert spread.max() > 0
    assert (folder / "mine/card.md").read_text(encoding="utf-8").startswith("# mine@1")
    assert {path.name for path in (folder / "own").iterdir()} == {"legacy-dropout", "legacy-batchnorm", "mine-too"}


def test_the_package_it_shows_brings_its_net_and_its_model(
    emres, folder: Path, small_map: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [code], [table] = blocks("python"), blocks("toml")
    groups = tomllib.loads(table)["project"]["entry-points"]
    points = "\n".join(
        f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in named.items())
        for group, named in groups.items()
    )
    site = folder / "site"
    install(site, monkeypatch, "their-nets", points, code)
    described = contract(name="their-net", architecture="their_unet", arguments={"channels": 3}, multiple=2, halo=2)
    save_bundle(site / "bundle", build_net("their_unet", {"channels": 3}), described, "# theirs\n")
    assert find_model("their-net") == site / "bundle"
    assert "package their-nets 1.2" in emres("models", "list").out
    assert emres("predict", small_map, "--model", "their-net", "-o", folder / "theirs.mrc").code == 0
    training = shlex.split(TOY_TRAINING.partition(" --set arguments")[0])
    trained = emres("train", "--dataset", "set", "--to", "new", "--architecture", "their_unet", *training)
    assert trained.code == 0, trained.err


def test_every_line_of_the_page_is_one_of_these() -> None:
    assert len(lines()) > 10
    assert all(line.startswith("emres ") for line in lines())
