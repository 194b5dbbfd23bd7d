from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from emres.model.bundle import build_net, save_bundle
from emres.model.contract import Contract

ARGUMENTS = {"channels": 8, "deep_channels": 12, "deep_layers": 3}


def lively_net(arguments: dict[str, int] = ARGUMENTS) -> torch.nn.Module:
    """A net with random weights and random running statistics: nothing in it is a neutral value."""
    torch.manual_seed(7)
    net = build_net("compact_unet", arguments)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net.eval()


def contract(**changes: object) -> Contract:
    fields = {
        "name": "tiny", "version": "1", "architecture": "compact_unet", "arguments": ARGUMENTS, "voxel_size": 1.5,
        "octaves": 2, "multiple": 4, "halo": 24, "valid_range": (0.01, 1000.0), "bytes_per_voxel": 200,
    }  # fmt: skip
    return Contract(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def net() -> torch.nn.Module:
    return lively_net()


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    save_bundle(folder, lively_net(), contract(), "# tiny\n")
    return folder


@pytest.fixture(scope="session")
def density() -> np.ndarray:
    """Smooth texture in a ball, noise around, on a box whose sides are no multiples of 4."""
    rng = np.random.default_rng(3)
    z, y, x = np.indices((90, 75, 81))
    ball = ((z - 40) ** 2 + (y - 38) ** 2 + (x - 42) ** 2) < 30**2
    waves = np.sin(0.8 * z) * np.cos(0.5 * y) + np.sin(0.6 * x + 0.3 * z)
    return (waves * ball + 0.2 * rng.normal(size=ball.shape)).astype(np.float32)
