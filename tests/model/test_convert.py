"""Only plain weights of the predecessor's net become a bundle; whatever else a .pth may hold is told, never run."""

from __future__ import annotations

import os

import pytest
import torch

from emres.errors import ModelError
from emres.model.bundle import open_bundle
from emres.model.convert import convert_legacy
from emres.model.legacy import LegacyUNet


@pytest.fixture
def net():
    torch.manual_seed(11)
    return LegacyUNet(batchnorm=1, filters=2).eval()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_come_back_unchanged(tmp_path, net, prefix):
    torch.save({prefix + key: value for key, value in net.state_dict().items()}, tmp_path / "weights.pth")
    contract = convert_legacy(tmp_path / "weights.pth", tmp_path / "bundle", "old")
    opened = open_bundle(tmp_path / "bundle")
    assert contract.arguments == {"batchnorm": 1, "filters": 2}
    for key, value in net.state_dict().items():
        assert torch.equal(opened.net.state_dict()[key], value)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


@pytest.mark.parametrize(
    "content",
    [
        lambda net: net,
        lambda net: Bomb(),
        lambda net: [1, 2],
        lambda net: {},
        lambda net: {"fc.weight": torch.zeros(3)},
        lambda net: {**net.state_dict(), "extra.weight": torch.zeros(1)},
        lambda net: {**net.state_dict(), "conv1_1.0.bias": torch.full((2,), float("nan"))},
        lambda net: {key: value for key, value in net.state_dict().items() if "root2" not in key},
        lambda net: {**net.state_dict(), "epoch": 3},
    ],
    ids=["module", "bomb", "list", "empty", "another net", "extra", "NaN", "missing", "checkpoint"],
)
def test_anything_else_is_refused(tmp_path, monkeypatch, net, content):
    monkeypatch.chdir(tmp_path)
    torch.save(content(net), tmp_path / "weights.pth")
    with pytest.raises(ModelError):
        convert_legacy(tmp_path / "weights.pth", tmp_path / "bundle", "old")
    assert not (tmp_path / "bundle").exists()
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"<html>quota exceeded</html>", b"PK\x03\x04 not a zip"])
def test_bytes_that_are_no_weights_are_told(tmp_path, content):
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(ModelError, match="holds no plain weights"):
        convert_legacy(tmp_path / "weights.pth", tmp_path / "bundle", "old")
