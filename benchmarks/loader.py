"""What a trainer's batches cost from Zarr, over the same patches cut from arrays that are in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.maps import ball_entry
from benchmarks.report import Row, side_by_side
from emres.archive import manifest
from emres.archive.store import CHUNK, EntryGroup
from emres.archive.writer import VolumeWriter
from emres.model.loader import PatchStream, patch_batches
from emres.model.patch_source import Source
from emres.model.patch_spec import Cells
from emres.run.masks import slabs
from emres.run.patches import patch_stream
from emres.volume.grid import Grid

SIDES = {"small": 48, "full": 192, "large": 256}  # voxels of a map
ENTRIES = {"small": 2, "full": 6, "large": 12}
PATCHES = {"small": 16, "full": 192, "large": 3072}
VOXEL_SIZE = 1.06  # Å
WANTED = 2.0  # times the seconds from memory
TARGET = "local_resolution/fsc"


def measure(size: str) -> list[Row]:
    """Return the seconds of an epoch from the store over those from memory."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        dataset = data_set(Path(folder), SIDES[size], ENTRIES[size])
        for side, ways in ((32, list(WAYS)), (48, ["2 threads", "2 processes"])):
            stored = patch_stream(dataset, side=side, count=PATCHES[size])
            held = PatchStream(InMemory.of(stored), stored.epoch, stored.cut, stored.plan)
            for way in ways[: None if size != "small" else 2]:
                rows.append(_compared(stored, held, side, way))
    return rows


def _compared(stored: PatchStream, held: PatchStream, side: int, way: str) -> Row:
    run, patches = WAYS[way], stored.epoch.patches
    slow, fast = side_by_side(partial(run, stored), partial(run, held))
    told = f"{patches / slow:.0f} patches/s from the store, {patches / fast:.0f} from memory"
    return Row(f"batches of {side}^3 from the store / from memory, {way}", slow / fast, WANTED, how=told)


def _threads(count: int) -> Callable[[PatchStream], None]:
    return lambda stream: [None for _ in patch_batches(stream, count)].clear()


def _processes(count: int) -> Callable[[PatchStream], None]:
    def run(stream: PatchStream) -> None:
        from torch.utils.data import DataLoader

        loader = DataLoader(stream, batch_size=None, num_workers=count, multiprocessing_context="fork")
        [None for _ in loader].clear()

    return run


WAYS = {
    "1 thread": _threads(1),
    "1 process": _processes(1),
    "2 threads": _threads(2),
    "2 processes": _processes(2),
}


@dataclass(frozen=True)
class InMemory:
    """The entries of a stream with every voxel in memory: opener and opened in one."""

    rows: Sequence[Any]
    sources: tuple[Source, ...]
    where: tuple[Cells, ...]

    @classmethod
    def of(cls, stream: PatchStream) -> InMemory:
        """Read everything that a stream could cut from."""
        opened, rows = stream.opener.open(), stream.opener.rows
        sources = [opened.source(k) for k in range(len(rows))]
        whole = [
            replace(
                source,
                densities={name: _all(values) for name, values in source.densities.items()},
                target=_all(source.target),
            )
            for source in sources
        ]
        return cls(rows, tuple(whole), tuple(opened.cells(k) for k in range(len(rows))))

    def open(self) -> InMemory:
        """Return itself."""
        return self

    def source(self, row: int) -> Source:
        """Return what patches of a row are cut from."""
        return self.sources[row]

    def cells(self, row: int) -> Cells:
        """Return where a row has a target."""
        return self.where[row]


def _all(values: Any) -> Any:
    return values[tuple(slice(0, n) for n in values.shape)]


def data_set(folder: Path, side: int, entries: int) -> manifest.DataSet:
    """Write a data set of balls of texture, half maps too, with a target each."""
    rows = []
    for k in range(entries):
        group = ball_entry(folder / f"store-{k}", side, VOXEL_SIZE)
        for kind in ("half_map_1", "half_map_2"):
            _copy(group, "map", kind)
        rows.append(_with_target(group, 2.5 * 1.15**k, f"store-{k}"))
    dataset = manifest.DataSet(folder, tuple(rows))
    manifest.write_dataset(dataset)
    return dataset


def _copy(group: EntryGroup, kind: str, to: str) -> None:
    with VolumeWriter(group, to, group.grid(kind)) as writer:
        for box in slabs(group.grid(kind)):
            writer.add(0, np.asarray(group.array(kind)[box.slices]))
        writer.commit({})


def _with_target(group: EntryGroup, resolution: float, store: str) -> manifest.Row:
    """Give an entry a smooth target in its ball, and return its row."""
    grid = group.grid("map")
    target = _target(grid, resolution)
    with VolumeWriter(group, TARGET, grid) as writer:
        for start in range(0, grid.shape[0], CHUNK):
            writer.add(0, target[start : start + CHUNK])
        writer.commit({"window": 30.0})
    inside = target[target > 0]
    low, middle, high = (float(value) for value in np.percentile(inside, (5, 50, 95)))
    both, size = ("map", "average"), grid.mean_voxel_size
    return manifest.Row(group.name, store, TARGET, "train", store, 1.0, both, middle, low, high, size, int(inside.size))


def _target(grid: Grid, resolution: float, share: float = 0.15) -> Any:
    z, y, x = (np.arange(n, dtype=np.float32) - n / 2 for n in grid.shape)
    distance = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)
    radius = grid.shape[0] * (0.75 * share / np.pi) ** (1 / 3)
    return np.where(distance < radius, resolution * (1 + 0.3 * distance / radius), 0).astype(np.float32)
