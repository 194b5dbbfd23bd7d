"""A package may bring an architecture; what it makes is checked, and a bundle alone has nothing executed."""

from __future__ import annotations

import json
import shutil
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from emres.errors import ModelError
from emres.model.bundle import build_net, open_bundle, save_bundle
from emres.model.contract import CONTRACT_FILE
from emres.model.inference import make_predictor
from tests.model.conftest import contract
from tests.other_packages import install

NETS = """
import torch
from torch import nn

class Smooth(nn.Module):
    multiple, receptive_radius = 2, 1

    def __init__(self, channels=2):
        super().__init__()
        self.first, self.last = nn.Conv3d(1, channels, 3, padding=1), nn.Conv3d(channels, 1, 1)

    def forward(self, density, margins=((0, 0), (0, 0), (0, 0))):
        answer = self.last(torch.relu(self.first(density)))
        inner = [slice(a, n - b) for (a, b), n in zip(margins, density.shape[2:])]
        return answer[:, :, *inner]

class Uncut(Smooth):
    def forward(self, density, margins=None):
        return self.last(self.first(density))

class NoMargins(Smooth):
    def forward(self, density):
        return density

class Told(Smooth):
    conditioned = True

    def forward(self, density, margins=((0, 0), (0, 0), (0, 0)), condition=None):
        return super().forward(density, margins).expand(-1, 2, -1, -1, -1)

class Endless(Smooth):
    receptive_radius = None

class Nowhere(Smooth):
    multiple = 0

class Empty(nn.Module):
    multiple, receptive_radius = 2, 1

def a_list():
    return [1]

number = 3
"""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("Smooth", "Uncut", "NoMargins", "Told", "Endless", "Nowhere", "Empty", "a_list", "number", "gone")
    points = "[emres.architectures]\n" + "\n".join(f"{name} = their_nets:{name}" for name in names)
    install(tmp_path / "site", monkeypatch, "their-nets", points, NETS)


def their_bundle(folder: Path) -> Path:
    torch.manual_seed(3)
    described = contract(architecture="Smooth", arguments={"channels": 3}, multiple=2, halo=2, valid_range=(0.01, 99.0))
    save_bundle(folder, build_net("Smooth", {"channels": 3}), described, "# theirs\n")
    return folder


@pytest.mark.usefixtures("theirs")
def test_a_net_of_a_package_is_kept_opened_and_predicts(tmp_path: Path) -> None:
    folder = their_bundle(tmp_path / "bundle")
    assert open_bundle(folder).net.first.out_channels == 3
    answer = make_predictor(folder)(np.ones((6, 8, 8), dtype=np.float32), np.ones((6, 8, 8), dtype=bool))
    assert answer.shape == (6, 8, 8)
    assert (answer > 0).all()


@pytest.mark.usefixtures("theirs")
def test_checking_a_net_leaves_it_as_it_was_made() -> None:
    torch.manual_seed(3)
    net = build_net("Smooth", {})
    assert net.training
    torch.manual_seed(3)
    torch.testing.assert_close(net.first.weight, type(net)().first.weight)
    assert build_net("Told", {}).conditioned


def test_a_bundle_without_its_package_says_what_is_missing_and_executes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        code = "open('executed', 'w')\n" + NETS
        module = install(
            tmp_path / "site", patch, "their-nets", "[emres.architectures]\nSmooth = their_nets:Smooth", code
        )
        patch.chdir(tmp_path)
        folder = their_bundle(tmp_path / "bundle")
    (tmp_path / "executed").unlink()
    shutil.copy(module, folder)  # code in the folder, and in the working folder, is nothing to a bundle
    shutil.copytree(tmp_path / "site", folder, dirs_exist_ok=True)
    monkeypatch.chdir(folder)
    with pytest.raises(ModelError, match=r"unknown architecture: got Smooth, .* or install the package"):
        open_bundle(folder)
    assert not list(tmp_path.rglob("executed"))


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize("named", ["their_nets:Smooth", "their_nets", "os.system"])
def test_a_bundle_names_entry_points_not_objects(tmp_path: Path, named: str) -> None:
    folder = their_bundle(tmp_path / "bundle")
    record = json.loads((folder / CONTRACT_FILE).read_text()) | {"architecture": named}
    (folder / CONTRACT_FILE).write_text(json.dumps(record))
    with pytest.raises(ModelError, match="unknown architecture"):
        open_bundle(folder)


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("Smooth", {"colours": 3}, "TypeError.*colours"),
        ("Smooth", {"channels": -1}, "RuntimeError"),
        ("Uncut", {}, r"shape \(1, 1, 4, 2, 2\).*expected \(1, 1, 2, 2, 2\)"),
        ("NoMargins", {}, "TypeError"),
        ("Endless", {}, "receptive_radius None"),
        ("Nowhere", {}, "multiple 0, expected a whole number, 1 or more"),
        ("Empty", {}, "without parameters"),
        ("a_list", {}, "a list, expected an nn.Module"),
        ("number", {}, "a int, expected a class"),
        ("gone", {}, "AttributeError"),
    ],
)
def test_what_is_no_net_of_blocks_is_told_by_its_package(name: str, arguments: dict[str, int], told: str) -> None:
    with pytest.raises(ModelError, match=rf"{name} of the package their-nets 1\.2 is broken.*{told}"):
        build_net(name, arguments)


def test_our_own_nets_ask_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "distributions", lambda: pytest.fail("installed packages were looked through"))
    assert build_net("compact_unet", {"channels": 4, "deep_channels": 4, "deep_layers": 1}).multiple == 4
