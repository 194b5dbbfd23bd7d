"""A training so small that a test may begin one."""

from __future__ import annotations

from emres.archive.manifest import DataSet
from emres.model.train import Moment
from emres.model.train_plan import TrainPlan
from emres.run.patch_facts import facts_key, size_for
from emres.run.patch_sources import DataSetOpener
from emres.run.train_data import training_stream

PLAN = TrainPlan(steps=3, epoch_steps=1, batch=4, side=16, margin=4, level_steps=2, handled=1, stripped=1).settled()


def silent(moment: Moment) -> None:
    """Tell nobody."""


def keys(dataset: DataSet) -> list[str]:
    """Return the keys of all maps that patches of the toy training are cut from."""
    opener = training_stream(dataset, PLAN).opener
    assert isinstance(opener, DataSetOpener)
    return [
        facts_key(dataset, row, density, size_for(row, opener.cut)) for row in opener.rows for density in row.densities
    ]
