"""Two half maps for tests: made up, or cut from a stored reference object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from emres.archive.mrc import read_mrc
from emres.archive.mrc_write import write_mrc
from emres.archive.store import EntryGroup, Store
from emres.run.ingest import import_map
from emres.volume.grid import Grid, make_volume
from tests.run.conftest import toy_density

HALVES = ("half_map_1", "half_map_2")
TOY = Grid((48, 40, 44), (2.1, 2.1, 2.1), (3.0, -4.0, 5.0))

_REFERENCES = Path(__file__).parents[3] / "shared/data/references"


def toy_halves(grid: Grid = TOY, noise: float = 0.4, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The same two blobs under two draws of noise."""
    rng = np.random.default_rng(seed)
    density = toy_density(grid)
    first, second = (density + noise * rng.normal(size=grid.shape) for _ in range(2))
    return first.astype(np.float32), second.astype(np.float32)


def write_halves(folder: Path, grid: Grid = TOY, **how: float) -> dict[str, Path]:
    """Write half maps and their average as MRC; return the files by kind."""
    first, second = toy_halves(grid, **how)
    volumes = {"half_map_1": first, "half_map_2": second, "map": (first + second) / 2}
    folder.mkdir(parents=True, exist_ok=True)
    return {kind: write_mrc(folder / f"{kind}.mrc", make_volume(v, grid)) for kind, v in volumes.items()}


def entry_of(files: dict[str, Path], store: Store, name: str = "toy", kinds: tuple[str, ...] = HALVES) -> EntryGroup:
    """Bring some of the files into a store."""
    for kind in kinds:
        import_map(files[kind], store, name, kind=kind)
    return store.entry(name)


def reference(name: str) -> dict[str, xr.DataArray]:
    """Return half maps, mask and RELION's answer of a reference object."""
    folder = _REFERENCES / name
    if not folder.is_dir():
        pytest.skip("the reference maps are not here")
    files = {kind: folder / f"{kind}.map.gz" for kind in (*HALVES, "mask")}
    files["relion"] = folder / "references/relion_s25.map.gz"
    return {kind: read_mrc(path) for kind, path in files.items()}
