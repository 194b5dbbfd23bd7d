"""Training patches of a data set: lazily as an ``xarray.Dataset``, or as a stream of batches for a trainer."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.manifest import DataSet, Row, read_dataset
from emres.errors import UsageError
from emres.model.augment import USUAL, Augmentation
from emres.model.cut import CutPlan, cut
from emres.model.epoch import by_entry, draw_patches, plan_visits
from emres.model.patch_spec import EpochPlan, PatchSpec
from emres.run.kept_facts import read_facts
from emres.run.patch_facts import gather_facts
from emres.run.patch_sources import CACHE_BYTES, DataSetOpener
from emres.volume.grid import DIMS

if TYPE_CHECKING:
    import xarray as xr

    from emres.model.loader import PatchStream

Array = np.ndarray[Any, Any]

_VISITS = 16  # at least, in an epoch
_PARTS = ("density", "target", "weight")


def patches(
    dataset: DataSet | Path | str,
    split: str = "train",
    side: int = 32,
    count: int = 256,
    *,
    seed: int = 0,
    epoch: int = 0,
    voxel_size: float | None = None,
    octaves: int = 3,
    steps: int = 2,
    margin: int = 0,
    augmentation: Augmentation | None = None,
    normalise: bool = True,
) -> xr.Dataset:
    """Cut training patches from a data set, lazily.

    Balanced over resolution, centred in the molecule but for a tenth just beside it; the same arguments are the same
    patches.

    Parameters
    ----------
    dataset : DataSet or path
        What ``emres dataset build`` made.
    split : str
        ``train``, ``validation`` or ``test``.
    side : int
        Voxels.
    count : int
        Patches.
    seed, epoch : int
        Another epoch is another draw.
    voxel_size : float, optional
        Å that maps are resampled to (the default model's contract has 1.0), or a coarser grid for coarser maps. By
        default patches lie on the voxels of their map.
    octaves, steps : int
        How many times ``voxel_size`` may be doubled, and how many grids there are an octave.
    margin : int
        Voxels at the faces of a patch whose weight is 0.
    augmentation : Augmentation, optional
        None by default: voxels as they are stored.
    normalise : bool
        By the median outside and the rms inside the molecule of the whole map; otherwise the density is as stored.

    Returns
    -------
    xarray.Dataset
        ``density``, ``target`` (Å, 0 for none) and ``weight``, (patch, z, y, x) float32, as Dask arrays: a chunk is
        the patches of one entry. Coordinates of ``patch``: ``entry``, ``family``, ``voxel_size`` (Å), ``centre_z``,
        ``centre_y``, ``centre_x`` (Å). To plan, the coarsest level of the targets is read; no density before it is
        computed.

    Raises
    ------
    StoreError, MapError
        If an entry is not what the data set says.
    UsageError
        If the side of the split is empty, or an argument is out of range.
    """
    import xarray as xr

    found = as_dataset(dataset)
    rows = rows_of(found, split)
    plan = CutPlan(side, voxel_size, octaves, margin, augmentation or Augmentation(), normalise, steps)
    opener = DataSetOpener(found, rows, facts=read_facts(found), cut=plan)
    epoch_plan = replace(_epoch_plan(rows, plan, count, seed, epoch), visit=1)
    cells = opener.open().cells
    # Of one entry at a time: a chunk of the arrays is what an entry is read for once.
    visits = by_entry(plan_visits(rows, epoch_plan))
    specs = [spec for visit in visits for spec in draw_patches(visit, rows[visit.row], cells, epoch_plan)]
    arrays = _lazy(opener, specs, plan)
    variables = {name: (("patch", *DIMS), array) for name, array in zip(_PARTS, arrays, strict=True)}
    return xr.Dataset(variables, _coordinates(opener, specs, plan), {"split": split, "seed": seed, "epoch": epoch})


def patch_stream(
    dataset: DataSet | Path | str,
    split: str = "train",
    side: int = 32,
    count: int = 4096,
    *,
    batch: int = 16,
    seed: int = 0,
    voxel_size: float | None = 1.0,
    octaves: int = 3,
    steps: int = 2,
    margin: int = 0,
    normalise: bool = True,
    augmentation: Augmentation | None = USUAL,
    visit: int | None = None,
    cache_bytes: int = CACHE_BYTES,
    report: Callable[[str], None] | None = None,
) -> PatchStream:
    """Return the batches of a data set for a trainer.

    Use it as ``DataLoader(stream, batch_size=None, num_workers=2)``, or ``patch_batches(stream, threads=2)``, and call
    ``stream.set_epoch(k)`` before each epoch. Batches are the same, bit for bit, for any number of workers. Numbers of
    whole maps that are not known yet are taken here, and kept beside the manifest.

    Parameters
    ----------
    dataset, split, side, seed, voxel_size, octaves, steps, margin, normalise, augmentation
        As for :func:`patches`.
    count : int
        Patches an epoch.
    batch : int
        Patches a batch.
    visit : int, optional
        Patches of one map that are cut at one go, at most: few are of more maps, many need fewer reads.
    cache_bytes : int
        For decoded chunks, in each worker.
    report : callable, optional
        Told the name of every entry whose maps are read for their numbers.

    Returns
    -------
    PatchStream

    Raises
    ------
    StoreError, MapError, UsageError
        As for :func:`patches`.
    """
    from emres.model.loader import PatchStream, StreamPlan

    found = as_dataset(dataset)
    rows = rows_of(found, split)
    plan = CutPlan(side, voxel_size, octaves, margin, augmentation or Augmentation(), normalise, steps)
    opener = DataSetOpener(found, rows, cache_bytes, gather_facts(found, rows, plan, report), plan)
    epoch = _epoch_plan(rows, plan, count, seed, 0)
    return PatchStream(opener, epoch if visit is None else replace(epoch, visit=visit), plan, StreamPlan(batch))


def as_dataset(dataset: DataSet | Path | str) -> DataSet:
    """Return a data set, read if it is a path."""
    return dataset if isinstance(dataset, DataSet) else read_dataset(dataset)


def rows_of(dataset: DataSet, split: str) -> tuple[Row, ...]:
    """Return the rows of one side of the split.

    Raises
    ------
    UsageError
        If there are none.
    """
    rows = dataset.side(split)
    if not rows:
        raise UsageError(
            f"the {split} side of {dataset.folder} is empty",
            got=f"{len(dataset.rows)} entries in all",
            cure="build the data set with more entries, or use another side",
        )
    return rows


def _epoch_plan(rows: Sequence[Row], plan: CutPlan, count: int, seed: int, epoch: int) -> EpochPlan:
    finest = min(row.voxel_size for row in rows)
    # A patch whose centre left the molecule by a third of its side still holds some of it.
    shift = plan.side / 3 * (1.0 if plan.voxel_size is None else max(plan.voxel_size / finest, 1.0))
    turned = plan.augmentation
    # A short epoch in long visits would be of few entries.
    visit = max(1, min(EpochPlan.visit, count // _VISITS))
    return EpochPlan(count, seed, epoch, visit, shift=shift, rotations=turned.rotations, mirrors=turned.mirrors)


def _lazy(opener: DataSetOpener, specs: Sequence[PatchSpec], plan: CutPlan) -> list[Any]:
    """Return density, target and weight: one task an entry, and three that take its answer apart."""
    import dask
    import dask.array as da

    groups = [list(group) for _, group in itertools.groupby(specs, key=lambda spec: spec.row)]
    cubes = [dask.delayed(_cut_group)(_only(opener, group[0].row), group, plan) for group in groups]
    shapes = [(len(group), *(plan.side,) * 3) for group in groups]
    return [
        da.concatenate([da.from_delayed(cube[k], shape, np.float32) for cube, shape in zip(cubes, shapes, strict=True)])
        for k in range(len(_PARTS))
    ]


def _only(opener: DataSetOpener, row: int) -> DataSetOpener:
    """Return an opener that is small enough for a task: of one row, which is its row 0."""
    chosen = opener.rows[row]
    name = f"{chosen.store}/{chosen.entry}/"
    facts = {key: value for key, value in opener.facts.items() if key.startswith(name)}
    return DataSetOpener(replace(opener.dataset, rows=(), made={}), (chosen,), opener.cache_bytes, facts, opener.cut)


def _cut_group(opener: DataSetOpener, specs: Sequence[PatchSpec], plan: CutPlan) -> Array:
    """Cut the patches of one entry: (3, patches, z, y, x)."""
    source = opener.open().source(0)
    return np.stack([np.stack(cut(source, spec, plan)[:3]) for spec in specs], axis=1)


def _coordinates(opener: DataSetOpener, specs: Sequence[PatchSpec], plan: CutPlan) -> dict[str, Any]:
    opened = opener.open()
    rows = [opener.rows[spec.row] for spec in specs]
    grids = {number: opened.grid(number) for number in {spec.row for spec in specs}}
    sizes = {
        number: float(np.prod(plan.voxel_sizes(grid, opener.rows[number].lattice))) ** (1 / 3)
        for number, grid in grids.items()
    }
    centres = np.array([grids[spec.row].to_angstrom(spec.centre) for spec in specs])
    return {
        "entry": ("patch", [row.entry for row in rows]),
        "family": ("patch", [row.family for row in rows]),
        "voxel_size": ("patch", [sizes[spec.row] for spec in specs]),
        **{f"centre_{dim}": ("patch", centres[:, k]) for k, dim in enumerate(DIMS)},
    }
