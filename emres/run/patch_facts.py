"""Numbers of whole maps that patches need: normalisation, as ``run.prepare`` takes it, and the molecule's spectrum."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from emres.archive.manifest import DataSet, Row
from emres.archive.scratch import DiskScratch, MemoryScratch, Scratch
from emres.archive.store import EntryGroup, Store
from emres.errors import EmresError, MapError
from emres.model.cut import CutPlan
from emres.model.patch_source import MapFacts
from emres.run.jobs import hash_of_facts
from emres.run.kept_facts import KeptFacts
from emres.run.map_spectra import REACH, Molecule, places_of
from emres.run.masks import mask_slabs, slabs
from emres.run.patch_curves import curves_path, write_curves
from emres.run.patch_entries import check_row, density_pyramid, kinds_of
from emres.run.prepare import bytes_in_memory, prepare
from emres.volume.blocks import Box
from emres.volume.density import Normalisation
from emres.volume.grid import Grid
from emres.volume.one_map_fsc import shown_resolution
from emres.volume.place_curves import PlaceCurves
from emres.volume.pyramid import Pyramid

Array = np.ndarray[Any, Any]

_GUESSED = 0.12  # standard deviation of the logarithm of the error with which a net guesses a resolution
_MEMORY = 2**30  # bytes for the arrays of one map; above it they go to disk


def facts_key(dataset: DataSet, row: Row, density: str, voxel_size: float | None = None) -> str:
    """Return what tells the numbers of one map from those of any other, of another version or on other voxels."""
    group = Store(dataset.store_of(row)).entry(row.entry)
    about = [
        [group.attributes(kind).get("source"), group.attributes(kind).get("statistics")] for kind in kinds_of(density)
    ]
    size = None if row.lattice or voxel_size is None else round(voxel_size, 6)
    version = hash_of_facts({"maps": about, "lattice": row.lattice, "voxel_size": size, "reported": row.reported})
    return f"{row.store}/{row.entry}/{density}/{version[:16]}"


def size_for(row: Row, cut: CutPlan | None) -> float | None:
    """Return the voxel size, Å, that the patches of an entry are resampled to; None for its own voxels."""
    return None if cut is None or cut.voxel_size is None else cut.working_voxel_size(row.voxel_size)


def take_facts(
    dataset: DataSet, row: Row, density: str, voxel_size: float | None = None
) -> tuple[MapFacts, PlaceCurves | None]:
    """Prepare a map as it is prepared for a net, and return its numbers, and the curves of its places.

    Parameters
    ----------
    dataset, row, density
        Which map.
    voxel_size : float, optional
        Å, of the patches; the map's own by default.

    Raises
    ------
    MapError
        If there is no molecule in it.
    """
    group = check_row(dataset, row)
    source = density_pyramid(group, density)
    grid = source.grid()
    working = grid if row.lattice or voxel_size is None else grid.resampled(voxel_size)
    try:
        masks = _target_slabs(group, row) if row.lattice else mask_slabs(source, "auto")
        return facts_of(source, masks, working, None if row.lattice else guessed_for(row))
    except MapError as error:
        raise MapError(f"{row.entry} cannot be normalised: {error.what}", got=error.got, cure="leave it out") from error


def facts_of(
    source: Pyramid, masks: Iterable[tuple[Box, Array]], working: Grid, guessed: float | None
) -> tuple[MapFacts, PlaceCurves | None]:
    """Prepare a map as it is prepared for a net, and return its numbers, and the curves of its places.

    Parameters
    ----------
    source : Pyramid
    masks : iterable
        Where its molecule is; see :func:`emres.run.masks.mask_slabs`.
    working : Grid
        That of the net.
    guessed : float, optional
        Å, what would be guessed of it where its noise does not show; None of a box of cubes of many maps: they have no
        neighbours, and so no curves.

    Raises
    ------
    MapError
        If there is no molecule in it.
    """
    grid = source.grid()
    with _scratch(grid, working) as scratch:
        boxes = prepare(source, masks, working, scratch, reach=REACH)
        notes = scratch.notes()
        normalisation, stripped = Normalisation(notes["centre"], notes["scale"]), notes["stripped"]
        molecule = Molecule.prepared(scratch, working, boxes, grid.mean_voxel_size)
        spectra = molecule.spectra()
        if guessed is None:
            return MapFacts(normalisation, spectra, stripped=stripped), None
        resolution = shown_resolution(spectra) if any(spectra.outside) else guessed
        curves, shown = places_of(molecule, spectra, resolution, max(grid.voxel_size))
        return MapFacts(normalisation, spectra, shown, stripped=stripped), curves


def guessed_for(row: Row, which: str = "") -> float:
    """Return what might be guessed of a map whose noise does not show: windows must not tell what is to be learnt."""
    seed = int.from_bytes(hashlib.sha256(f"{row.entry}{which}".encode()).digest()[:8], "little")
    return (row.reported or row.resolution) * math.exp(_GUESSED * np.random.default_rng(seed).normal())


@contextmanager
def _scratch(grid: Grid, working: Grid) -> Iterator[Scratch]:
    """Yield a place for a map on its way, on disk if it is large."""
    if bytes_in_memory(grid, working) <= _MEMORY:
        yield MemoryScratch()
        return
    with TemporaryDirectory(prefix="emres-facts-") as folder:
        yield DiskScratch(Path(folder) / "scratch")


def _target_slabs(group: EntryGroup, row: Row) -> Iterator[tuple[Box, Array]]:
    """Yield where an entry has a target: what a mask is for cubes that were cut out of many maps."""
    target = group.array(row.target)
    for box in slabs(group.grid(row.target)):
        yield box, np.asarray(target[box.slices]) > 0


def gather_facts(
    dataset: DataSet,
    rows: Iterable[Row],
    cut: CutPlan | None = None,
    report: Callable[[str], None] | None = None,
) -> dict[str, MapFacts]:
    """Return the numbers of the maps of some rows, taking those that are missing and keeping them for the next time.

    Parameters
    ----------
    dataset : DataSet
    rows : iterable of Row
    cut : CutPlan, optional
        Of the patches; by default they lie on the voxels of their maps.
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
    with KeptFacts(dataset) as kept:
        for row in rows:
            if missing := missing_facts(dataset, row, cut, kept.facts):
                if report is not None:
                    report(row.entry)
                for key, facts in taken_facts(dataset, row, cut, missing):
                    kept.keep(key, facts)
        return kept.facts


def missing_facts(dataset: DataSet, row: Row, cut: CutPlan | None, known: Container[str]) -> list[str]:
    """Return the keys of those maps of an entry whose numbers, or curves, are not known.

    Raises
    ------
    StoreError, MapError
        If the entry is not what the manifest says.
    """
    check_row(dataset, row)
    keys = [facts_key(dataset, row, density, size_for(row, cut)) for density in row.densities]
    return [key for key in keys if key not in known or not (row.lattice or curves_path(dataset, key).exists())]


def taken_facts(
    dataset: DataSet, row: Row, cut: CutPlan | None, keys: Container[str]
) -> Iterator[tuple[str, MapFacts]]:
    """Yield the numbers of those maps of an entry that have these keys, and write their curves.

    Raises
    ------
    StoreError, MapError
        As :func:`missing_facts`, and if there is no molecule in a map.
    """
    size = size_for(row, cut)
    for density in row.densities:
        key = facts_key(dataset, row, density, size)
        if key in keys:
            facts, curves = take_facts(dataset, row, density, size)
            if curves is not None:
                with suppress(OSError, EmresError):  # a place that cannot be written is read all the same
                    write_curves(dataset, row, key, curves, facts.spectra.voxel_size)
            yield key, facts
