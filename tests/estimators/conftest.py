"""Synthetic half maps, and the stored half maps and answers of the field's programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from emres.volume.threads import torch_threads

SHARED = Path(__file__).parents[3] / "shared" / "data"
VOXEL_SIZES = {"a": 1.0, "b": 1.3, "c": 1.1, "emd_6824": 2.64, "emd_1832": 5.7, "emd_1439": 5.18}


@pytest.fixture(autouse=True)
def _one_thread():
    with torch_threads(1):
        yield


@dataclass(frozen=True)
class Halves:
    """Two half maps, a mask, and the voxel size in Å."""

    first: np.ndarray
    second: np.ndarray
    mask: np.ndarray
    voxel_size: float

    @property
    def mean(self) -> np.ndarray:
        return (self.first + self.second) / 2


@cache
def read(path: Path) -> np.ndarray:
    import mrcfile

    with mrcfile.open(path, permissive=True) as opened:
        return np.array(opened.data, dtype=np.float32)


@pytest.fixture(scope="session")
def half_maps() -> Callable[[str], Halves]:
    def load(name: str) -> Halves:
        folder = SHARED / "references" / name
        if not folder.is_dir():
            pytest.skip(f"no reference data at {folder}")
        return Halves(
            *(read(folder / f"{part}.map.gz") for part in ("half_map_1", "half_map_2", "mask")), VOXEL_SIZES[name]
        )

    return load


@pytest.fixture(scope="session")
def real_map() -> Callable[[str], Halves]:
    def load(name: str) -> Halves:
        path = SHARED / "maps" / f"{name}.map.gz"
        if not path.is_file():
            pytest.skip(f"no reference data at {path}")
        whole = read(path)
        return Halves(whole, whole, read(SHARED / "references" / "real" / name / "mask.map.gz"), VOXEL_SIZES[name])

    return load


@pytest.fixture(scope="session")
def answer() -> Callable[[str, str], np.ndarray]:
    def load(name: str, peer: str) -> np.ndarray:
        simulated = len(name) == 1
        folder = SHARED / "references" / (f"{name}/references" if simulated else f"real/{name}")
        if not (folder / f"{peer}.map.gz").is_file():
            pytest.skip(f"no reference data at {folder}")
        return read(folder / f"{peer}.map.gz")

    return load


def low_passed(volume: np.ndarray, resolution: float) -> np.ndarray:
    """Cut a map of 1 Å voxels off at a resolution."""
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*(np.fft.fftfreq(n) for n in volume.shape), indexing="ij")))
    return np.fft.ifftn(np.fft.fftn(volume) * (frequency < 1 / resolution)).real.astype(np.float32)


@pytest.fixture(scope="session")
def ball() -> Halves:
    """A ball of 5 Å detail in white noise, 48^3 voxels of 1 Å."""
    random = np.random.default_rng(5)
    n = 48
    grid = np.indices((n, n, n)) - n // 2
    mask = (np.sqrt((grid**2).sum(0)) < 13).astype(np.float32)
    signal = 4 * mask * low_passed(random.normal(size=(n, n, n)), 5.0)
    noises = random.normal(size=(2, n, n, n)).astype(np.float32) * 0.3
    return Halves(signal + noises[0], signal + noises[1], mask, 1.0)


@pytest.fixture(scope="session")
def two_plateaus() -> tuple[Halves, np.ndarray, np.ndarray]:
    """A soft ball with 4 Å detail in its upper half and 8 Å in its lower, and where each half is well inside."""
    random = np.random.default_rng(5)
    n = 64
    grid = np.indices((n, n, n)) - n // 2
    radius, upper = np.sqrt((grid**2).sum(0)), 1 / (1 + np.exp(-grid[0] / 2))
    fine, coarse = (low_passed(random.normal(size=(n, n, n)), cut) for cut in (4.0, 8.0))
    ball = 1 / (1 + np.exp((radius - 20) / 2))
    signal = (ball * (upper * fine / fine.std() + (1 - upper) * coarse / coarse.std())).astype(np.float32)
    noises = random.normal(size=(2, n, n, n)).astype(np.float32) * 0.67
    halves = Halves(signal + noises[0], signal + noises[1], (radius < 20).astype(np.float32), 1.0)
    return halves, (radius < 20) & (grid[0] > 7), (radius < 20) & (grid[0] < -7)
