"""The patches that a net is trained and looked at with, and what tells one data set from another."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.manifest import SPLITS, DataSet, Row
from emres.archive.store import Store
from emres.model.augment import Augmentation
from emres.model.condition import LENGTH, blind
from emres.model.contract import working_voxel_size
from emres.model.patch_source import Source
from emres.model.train_plan import TrainPlan
from emres.run.jobs import hash_of_facts
from emres.run.masks import slabs
from emres.run.patch_entries import density_pyramid, kinds_of
from emres.run.patch_sources import DataSetOpener, OpenedDataSet
from emres.run.patches import patch_stream
from emres.volume.density import Normalisation, RunningStatistics

if TYPE_CHECKING:
    from emres.model.loader import PatchStream


def training_stream(dataset: DataSet, plan: TrainPlan) -> PatchStream:
    """Return the patches to train on, part by part; see :class:`emres.model.feed.Feed`.

    Raises
    ------
    StoreError, MapError, UsageError
        As :func:`emres.run.patches.patch_stream`.
    """
    return _stream(dataset, "train", plan, plan.epoch_steps * plan.batch, plan.augmentation, visit=None)


def validation_stream(dataset: DataSet, plan: TrainPlan) -> PatchStream | None:
    """Return the patches to look at, of as many maps as they can be; None where the side of the split is empty.

    They are unvaried, and the same every time. Of some the resolution of their map is told, as in training.
    """
    if not dataset.side("validation"):
        return None
    held = sum(max(row.voxels // max(row.lattice, 1) ** 3, 1) for row in dataset.side("validation"))
    part = plan.batch // plan.parts
    count = max(min(plan.validation_patches, held) // part, 1) * part
    told = Augmentation(told=plan.augmentation.told if plan.augmentation else 0.0)
    return _stream(dataset, "validation", plan, min(count, held), told, visit=1)


def _stream(
    dataset: DataSet, split: str, plan: TrainPlan, count: int, augmentation: Augmentation | None, visit: int | None
) -> PatchStream:
    stream = patch_stream(
        dataset,
        split,
        side=plan.side or 0,
        count=count,
        batch=plan.batch // plan.parts,
        seed=plan.seed,
        voxel_size=plan.voxel_size,
        octaves=plan.octaves,
        steps=plan.octave_steps,
        margin=plan.margin or 0,
        augmentation=augmentation,
        visit=visit,
    )
    if plan.kind.cube:
        opener = stream.opener
        assert isinstance(opener, DataSetOpener)
        stream.opener = ScaledOpener(opener, _to_0_1(opener))
    return stream


def _to_0_1(opener: DataSetOpener) -> dict[tuple[int, str], Normalisation]:
    """Return, for every row and density, what takes a whole map to 0..1."""
    scales = {}
    for number, row in enumerate(opener.rows):
        group = Store(opener.dataset.store_of(row)).entry(row.entry)
        for density in row.densities:
            source, running = density_pyramid(group, density), RunningStatistics()
            values = source.array()
            for box in slabs(source.grid()):
                running.add(np.asarray(values[box.slices], dtype=np.float32))
            found = running.result()
            scales[number, density] = Normalisation(found.minimum, found.maximum - found.minimum)
    return scales


@dataclass(frozen=True)
class ScaledOpener:
    """Opens a data set with other normalisations of its maps.

    Parameters
    ----------
    opener : DataSetOpener
    scales : dict
        Row and density -> its normalisation.
    """

    opener: DataSetOpener
    scales: dict[tuple[int, str], Normalisation]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of one side of the split."""
        return self.opener.rows

    def open(self) -> ScaledDataSet:
        """Open it; nothing is read yet."""
        return ScaledDataSet(self.opener.open(), self.scales)


class ScaledDataSet:
    """One side of a data set, open in one worker, with other normalisations."""

    def __init__(self, opened: OpenedDataSet, scales: dict[tuple[int, str], Normalisation]) -> None:
        self._opened, self._scales = opened, scales
        self.cells = opened.cells

    def source(self, row: int) -> Source:
        """Return what patches of a row are cut from."""
        found = self._opened.source(row)
        facts = {
            density: replace(found.facts[density], normalisation=self._scales[row, density])
            for density in found.densities
        }
        return replace(found, facts=facts)


def training_conditions(stream: PatchStream, most: int = 2000) -> np.ndarray:
    """Return what nets are told of the maps of training patches, but for a reported resolution: (patches, LENGTH)."""
    from emres.model.epoch import draw_patches, plan_visits
    from emres.model.told import told_of

    opened, epoch, found = stream.opener.open(), replace(stream.epoch, epoch=0), []
    visits = plan_visits(stream.opener.rows, epoch)
    each = -(-most // len(visits))
    for visit in visits[:most]:
        source = opened.source(visit.row)
        specs = draw_patches(visit, stream.opener.rows[visit.row], opened.cells, epoch)
        found += [told_of(source, spec, stream.cut)[0][:LENGTH] for spec in itertools.islice(specs, each)]
    return blind(np.stack(found))


def dataset_hash(dataset: DataSet) -> str:
    """Return what changes when an entry, a map, a target or the split does."""
    about = []
    for row in dataset.rows:
        group = Store(dataset.store_of(row)).entry(row.entry)
        target = group.attributes(row.target) if group.has(row.target) else {}
        told = [target.get(name) for name in ("fingerprint", "statistics", "parameters")]
        kinds = [kind for density in row.densities for kind in kinds_of(density) if group.has(kind)]
        maps = [[kind, *map(group.attributes(kind).get, ("source", "statistics"))] for kind in kinds]
        about.append([asdict(row), maps, told])
    return hash_of_facts({"rows": about})


def split_lists(dataset: DataSet) -> dict[str, Any]:
    """Return which entries and families are on which side of the split, as JSON values."""

    def names(rows: Sequence[Row], what: str) -> list[str]:
        return sorted({str(getattr(row, what)) for row in rows})

    return {
        "entries": {split: names(dataset.side(split), "entry") for split in SPLITS},
        "families": {split: names(dataset.side(split), "family") for split in SPLITS},
    }


def usual_resolution(rows: Sequence[Row], plan: TrainPlan) -> float:
    """Return the median resolution of some rows: of a net that answers in Å that; else the logarithm of its voxels."""
    if plan.voxel_size is None:
        return float(np.median([row.resolution for row in rows]))
    sizes = [working_voxel_size(row.voxel_size, plan.voxel_size, plan.octaves, plan.octave_steps) for row in rows]
    return float(np.median([np.log(row.resolution / size) for row, size in zip(rows, sizes, strict=True)]))
