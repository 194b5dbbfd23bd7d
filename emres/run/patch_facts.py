"""Numbers of whole maps that patches need: normalisation, as ``run.prepare`` takes it, and the molecule's spectrum.

They are kept in ``DATASET/patches.json`` beside the manifest: taken once a map, not once a worker.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy import fft

from emres.archive.disk import replaced_file
from emres.archive.manifest import DataSet, Row
from emres.archive.store import EntryGroup, Store
from emres.errors import EmresError, MapError
from emres.model.augment import Spectrum
from emres.model.cut import MapFacts
from emres.model.patch_spec import Cells
from emres.run.jobs import hash_of_facts
from emres.run.masks import mask_slabs, slabs
from emres.run.patch_entries import cells_of, check_row, density_pyramid, kinds_of
from emres.volume.blocks import Box
from emres.volume.density import Normalisation, RobustStatistics
from emres.volume.grid import Grid

Array = np.ndarray[Any, Any]

FILE = "patches.json"

_SAMPLES = 2**20
_SECONDS = 30.0  # of work that a kill may cost
_SPECTRUM_BOX, _SPECTRUM_BOXES, _SHELLS = 48, 8, 32


def facts_key(dataset: DataSet, row: Row, density: str) -> str:
    """Return what tells the numbers of one map from those of any other, or of another version of it."""
    group = Store(dataset.store_of(row)).entry(row.entry)
    about = [
        [group.attributes(kind).get("source"), group.attributes(kind).get("statistics")] for kind in kinds_of(density)
    ]
    return f"{row.store}/{row.entry}/{density}/{hash_of_facts({'maps': about, 'lattice': row.lattice})[:16]}"


def take_facts(dataset: DataSet, row: Row, density: str) -> MapFacts:
    """Stream through a map once: its normalisation, as ``run.prepare`` takes it, and the spectrum of its molecule.

    Raises
    ------
    MapError
        If there is no molecule in it.
    """
    group = check_row(dataset, row)
    source = density_pyramid(group, density)
    grid, values = source.grid(), source.array()
    # As run.prepare samples the median: a net is to be given the same numbers when it predicts.
    statistics = RobustStatistics(max(1, math.ceil((grid.voxels / _SAMPLES) ** (1 / 3))))
    try:
        masks = _target_slabs(group, row) if row.lattice else mask_slabs(source, "auto")
        for box, mask in masks:
            statistics.add(np.asarray(values[box.slices], dtype=np.float32), mask)
        normalisation = statistics.result()
    except MapError as error:
        raise MapError(f"{row.entry} cannot be normalised: {error.what}", got=error.got, cure="leave it out") from error
    return MapFacts(normalisation, _spectrum(values, grid, cells_of(dataset, row), normalisation))


def _target_slabs(group: EntryGroup, row: Row) -> Iterator[tuple[Box, Array]]:
    """Yield where an entry has a target: what a mask is for cubes that were cut out of many maps."""
    target = group.array(row.target)
    for box in slabs(group.grid(row.target)):
        yield box, np.asarray(target[box.slices]) > 0


def _spectrum(values: Any, grid: Grid, cells: Cells, normalisation: Normalisation) -> Spectrum:
    """Return the mean power spectrum of a few windows evenly spread over the molecule."""
    chosen = cells.corners[np.linspace(0, len(cells.corners) - 1, _SPECTRUM_BOXES).astype(int)]
    side = tuple(min(_SPECTRUM_BOX, n) for n in grid.shape)
    starts = [np.clip(corner - np.array(side) // 2, 0, np.array(grid.shape) - side) for corner in chosen]
    window = np.ones(side, dtype=np.float32)
    for axis, n in enumerate(side):
        window *= np.hanning(n + 2)[1:-1].astype(np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
    frequency = np.sqrt(
        sum(
            (fft.fftfreq(n, size) ** 2).reshape([-1 if k == axis else 1 for k in range(3)])
            for axis, (n, size) in enumerate(zip(side, grid.voxel_size, strict=True))
        )
    )
    width = float(frequency.max()) / _SHELLS
    shell = np.minimum((frequency / width).astype(int), _SHELLS - 1).ravel()
    power = np.zeros(_SHELLS)
    for start in starts:
        part = values[tuple(slice(a, a + n) for a, n in zip(start.tolist(), side, strict=True))]
        spectrum = fft.fftn(normalisation(np.asarray(part, dtype=np.float32)) * window)
        power += np.bincount(shell, weights=np.square(np.abs(spectrum)).ravel(), minlength=_SHELLS)
    middles = (np.arange(_SHELLS) + 0.5) * width
    return Spectrum(tuple(middles.round(6).tolist()), tuple(float(f"{value:.6g}") for value in power))


def read_facts(dataset: DataSet) -> dict[str, MapFacts]:
    """Read the numbers of maps that were kept beside the manifest; none where there are none, or they are damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        found = json.loads((dataset.folder / FILE).read_text(encoding="utf-8"))
        return {
            key: MapFacts(
                Normalisation(**value["normalisation"]),
                Spectrum(tuple(value["spectrum"]["frequency"]), tuple(value["spectrum"]["power"])),
            )
            for key, value in found["maps"].items()
        }
    return {}


def gather_facts(
    dataset: DataSet, rows: Iterable[Row], report: Callable[[str], None] | None = None
) -> dict[str, MapFacts]:
    """Return the numbers of the maps of some rows, taking those that are missing and keeping them for the next time.

    Parameters
    ----------
    dataset : DataSet
    rows : iterable of Row
    report : callable, optional
        Told the name of every entry whose maps are read.

    Returns
    -------
    dict
        Key of a map -> its numbers.

    Raises
    ------
    StoreError, MapError
        If an entry is not what the manifest says.
    """
    facts = read_facts(dataset)
    written, known = time.monotonic(), len(facts)
    try:
        for row in rows:
            check_row(dataset, row)
            for density in row.densities:
                key = facts_key(dataset, row, density)
                if key not in facts:
                    if report is not None:
                        report(row.entry)
                    facts[key] = take_facts(dataset, row, density)
            if len(facts) > known and time.monotonic() > written + _SECONDS:
                _write_facts(dataset, facts)
                written, known = time.monotonic(), len(facts)
    finally:
        # What was taken is kept even if the next entry is broken.
        if len(facts) > known:
            _write_facts(dataset, facts)
    return facts


def _write_facts(dataset: DataSet, facts: dict[str, MapFacts]) -> None:
    """Write the numbers; a data set in a place that cannot be written is used all the same."""
    path = dataset.folder / FILE
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(asdict(value))}" for key, value in facts.items())
    with suppress(OSError, EmresError), replaced_file(path) as part:
        part.write_text(f'{{"format_version": 1, "maps": {{\n{lines}\n}}}}\n', encoding="utf-8")
