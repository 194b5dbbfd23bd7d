from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emres.archive.mrc_write import write_mrc
from emres.archive.store import EntryGroup, Store
from emres.run.ingest import import_map
from emres.volume.grid import Grid, make_volume
from tests.model.conftest import contract, lively_net

GRID = Grid((72, 60, 66), (1.9, 1.9, 1.9), origin=(-30.0, 12.5, 4.0))


def toy_density(grid: Grid = GRID, seed: int = 5) -> np.ndarray:
    """Two blobs of texture in a noisy box that is neither a cube nor a multiple of anything."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(grid.shape)
    middle = [n / 2 for n in grid.shape]
    near = ((z - middle[0] * 0.7) ** 2 + (y - middle[1]) ** 2 + (x - middle[2]) ** 2) < (grid.shape[1] / 5) ** 2
    far = ((z - middle[0] * 1.5) ** 2 + (y - middle[1]) ** 2 + (x - middle[2] * 1.2) ** 2) < (grid.shape[1] / 8) ** 2
    waves = 1.5 + np.sin(0.9 * z) * np.cos(0.6 * y) + np.sin(0.7 * x + 0.3 * z)
    return (waves * (near | far) + 0.05 * rng.normal(size=grid.shape)).astype(np.float32)


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from emres.model.bundle import save_bundle

    folder = tmp_path_factory.mktemp("models") / "toy"
    save_bundle(folder, lively_net(), contract(name="toy", version="1", bytes_per_voxel=200), "# toy\n")
    return folder


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same name and version, other weights: only the hash tells."""
    import torch

    from emres.model.bundle import save_bundle

    net = lively_net()
    with torch.no_grad():
        net.head.bias += 0.5
    folder = tmp_path_factory.mktemp("models") / "other"
    save_bundle(folder, net, contract(name="toy", version="1", bytes_per_voxel=200), "# other\n")
    return folder


@pytest.fixture(scope="session")
def toy_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maps") / "toy.mrc"
    return write_mrc(path, make_volume(toy_density(), GRID))


@pytest.fixture
def entry(tmp_path: Path, toy_map: Path) -> EntryGroup:
    return import_map(toy_map, Store(tmp_path / "store"), "toy")
