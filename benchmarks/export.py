"""What writing a volume of the store as MRC, to the disk, costs over ``cp`` of the file that comes of it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.report import Row, side_by_side
from emres.archive.store import EntryGroup, Store
from emres.archive.writer import VolumeWriter
from emres.run.export import export_mrc
from emres.run.masks import slabs
from emres.volume.grid import Grid

SIDES = {"small": 48, "full": 296, "large": 400}  # 296^3 float32: 104 MB
WANTED = 3.0


def measure(size: str) -> list[Row]:
    """Return the seconds of ``export_mrc`` over those of ``cp``, for a result (mostly 0) and for a map of noise.

    An export ends with an fsync, and ``cp`` with none: once as it is, once with one. Before each the disk has all that
    was written, or an export would wait for what ``cp`` left to be written.
    """
    side = SIDES[size]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        group = entry_with_a_result(Path(folder), side)
        for kind, synced, wanted in ((RESULT, False, WANTED), (RESULT, True, None), ("map", True, None)):
            exported, copy = Path(folder) / "exported.mrc", Path(folder) / "copy.mrc"

            def export(kind: str = kind, target: Path = exported) -> None:
                export_mrc(group, target, kind, overwrite=True)

            def copied(source: Path = exported, target: Path = copy, synced: bool = synced) -> None:
                subprocess.run(["cp", str(source), str(target)], check=True)
                if synced:
                    with target.open("rb+") as file:
                        os.fsync(file.fileno())

            ours, theirs = side_by_side(export, copied, 1 if size == "small" else 5, before=os.sync)
            how = f"{ours:.3f} s / {theirs:.3f} s, {4 * side**3 / 1e6:.0f} MB"
            against = "cp and fsync" if synced else "cp"
            rows.append(Row(f"export {side}^3, {kind.split('/')[0]} / {against}", ours / theirs, wanted, how=how))
    return rows


RESULT = "local_resolution/ball@1"


def entry_with_a_result(folder: Path, side: int) -> EntryGroup:
    """Put a map of noise, and a local resolution in a ball in 15 % of its box, into a new store."""
    grid = Grid((side,) * 3, (1.0,) * 3)
    group = Store(folder / "store").create("ball", {})
    rng = np.random.default_rng(5)
    axis = np.arange(side, dtype=np.float32) - side / 2
    plane = axis[:, None] ** 2 + axis**2
    radius = side * (0.75 * 0.15 / np.pi) ** (1 / 3)
    with VolumeWriter(group, "map", grid) as noise, VolumeWriter(group, RESULT, grid) as result:
        for box in slabs(grid):
            noise.add(0, rng.normal(size=box.shape).astype(np.float32))
            distance = axis[box.slices[0]][:, None, None] ** 2 + plane
            inside = np.where(distance < radius**2, 3 + distance / radius**2, 0)
            result.add(0, inside.astype(np.float32))
        noise.commit({})
        result.commit({})
    return group
