"""What a data set holds: counts, sides of the split, and how its targets are spread over resolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emres.archive.cube_file import NO_SIGNAL
from emres.archive.manifest import SPLITS, DataSet, Row, counts
from emres.archive.store import EntryGroup, Store

Array = np.ndarray[Any, Any]

STEP, COARSEST = 0.25, 30.0  # Å
EDGES = np.arange(0, COARSEST + STEP, STEP)

_CHEAP = 128**3  # voxels of a level that is read whole


def describe_dataset(dataset: DataSet) -> dict[str, Any]:
    """Return what a data set holds, as JSON values.

    Returns
    -------
    dict
        ``entries``, ``targets``, ``stores``, ``splits`` (see :func:`emres.archive.manifest.counts`), ``resolution``
        (``edges`` in Å, and voxels per bin and side), ``left_out``, ``made``, ``warnings``.

    Raises
    ------
    StoreError
        If an entry is not where the manifest says.
    """
    voxels = {split: np.zeros(len(EDGES) - 1) for split in SPLITS}
    for row in dataset.rows:
        voxels[row.split] += target_histogram(dataset, row)
    shown = _shown(voxels)
    return {
        "entries": len({(row.store, row.entry) for row in dataset.rows}),
        "targets": sorted({row.target for row in dataset.rows}),
        "stores": sorted({row.store for row in dataset.rows}),
        "splits": counts(dataset.rows),
        "resolution": {
            "edges": [round(float(edge), 3) for edge in EDGES[shown.start : shown.stop + 1]],
            **{split: [round(float(n)) for n in found[shown]] for split, found in voxels.items()},
        },
        "left_out": dataset.made.get("left_out", {}),
        "made": {key: value for key, value in dataset.made.items() if key != "left_out"},
        "warnings": warnings_of(dataset),
    }


def target_histogram(dataset: DataSet, row: Row) -> Array:
    """Return how many voxels of an entry have a target in each bin of ``EDGES``; from a coarse level of a large one."""
    group = Store(dataset.store_of(row)).entry(row.entry)
    values = np.asarray(group.array(row.target, _cheap_level(group, row.target))[...])
    values = values[(values > 0) & (values < NO_SIGNAL)]
    found = np.histogram(np.minimum(values, COARSEST - STEP / 2), EDGES)[0].astype(float)
    return np.asarray(found * (row.voxels / max(found.sum(), 1)))


def _cheap_level(group: EntryGroup, kind: str) -> int:
    levels = range(group.levels(kind))
    return next((level for level in levels if group.grid(kind, level).voxels <= _CHEAP), levels[-1])


def _shown(voxels: Mapping[str, Array]) -> slice:
    """Return from the first to the last bin that holds anything."""
    filled = np.flatnonzero(np.sum(list(voxels.values()), axis=0))
    return slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, 0)


def warnings_of(dataset: DataSet) -> list[str]:
    """Return what makes a data set doubtful to train on."""
    found = [f"the {split} side is empty" for split in SPLITS if not dataset.side(split)]
    for split in SPLITS:
        families = {row.family for row in dataset.side(split)}
        if len(families) == 1 and len(dataset.rows) > 1:
            found.append(f"the {split} side holds one family only, {families.pop()}")
    if left_out := dataset.made.get("left_out"):
        found.append(f"{len(left_out)} entries were left out; emres dataset info --json says why")
    return found
