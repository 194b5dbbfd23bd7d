"""What bringing a ``.map.gz`` into the store costs (decompress, verify, statistics, pyramid) over ``gunzip`` alone."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.report import Row, side_by_side
from emres.archive.mrc_write import write_mrc
from emres.archive.store import Store
from emres.run.ingest import ingest
from emres.volume.grid import Grid, make_volume

SIDES = {"small": 48, "full": 296, "large": 400}  # 296^3 float32: 104 MB


def measure(size: str) -> list[Row]:
    """Return the seconds of ``ingest`` over those of ``gunzip -c FILE >/dev/null``."""
    side = SIDES[size]
    with tempfile.TemporaryDirectory() as folder:
        path = noise_map(Path(folder), side)

        def into_store() -> None:
            shutil.rmtree(Path(folder) / "store", ignore_errors=True)
            ingest(path, Store(Path(folder) / "store").create("noise", {}))

        def gunzip() -> None:
            subprocess.run(["gunzip", "-c", str(path)], check=True, stdout=subprocess.DEVNULL)

        stored, unzipped = side_by_side(into_store, gunzip)
    how = f"{stored:.2f} s / {unzipped:.2f} s, {4 * side**3 / 1e6:.0f} MB"
    return [Row(f"ingest {side}^3 .map.gz / gunzip", stored / unzipped, 1.3, how=how)]


def noise_map(folder: Path, side: int) -> Path:
    """Write a map of noise, gzip -6: the hardest to compress, and about what a cryo-EM map is."""
    grid = Grid((side,) * 3, (1.0,) * 3)
    values = np.random.default_rng(3).normal(size=grid.shape).astype(np.float32)
    plain = write_mrc(folder / "noise.mrc", make_volume(values, grid))
    packed = folder / "noise.map.gz"
    with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=6) as target:
        shutil.copyfileobj(source, target)
    plain.unlink()
    return packed
