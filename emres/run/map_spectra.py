"""The spectra of a map that was prepared for a net: taken on the grid of the model, alike for training and after."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emres.archive.scratch import Scratch
from emres.archive.store import EntryGroup
from emres.errors import UsageError
from emres.estimators.side_by_side import side_by_side
from emres.model.condition import LENGTH, condition_of
from emres.model.contract import Contract
from emres.model.familiar import unfamiliar
from emres.model.told import with_level
from emres.run.doubts import cut_through, stripped_of_the_rest
from emres.run.masks import slabs
from emres.run.prepare import DENSITY, NEEDED, PATTERN, prepare
from emres.volume.background import background_power, trusted
from emres.volume.blocks import Box
from emres.volume.boxes import bounding_box
from emres.volume.contrast import molecule_contrast
from emres.volume.grid import Grid, Shape, as_shape
from emres.volume.local_power import LocalPower, local_power
from emres.volume.local_window import default_window
from emres.volume.masking import block_any
from emres.volume.one_map_fsc import local_levels, shown_resolution
from emres.volume.place_curves import PlaceCurves, place_curves
from emres.volume.pyramid import Pyramid
from emres.volume.resample import read_box
from emres.volume.spectrum import CELL, SIDE, Spectra, mean_power, molecule_windows

Array = np.ndarray[Any, Any]

# Voxels round the molecule that must have been prepared, so that windows find room beside it: the windows lie in
# `_ROOM` cells round the cells of the molecule, which reach up to a cell beyond it.
REACH = SIDE + 2 * CELL
_ROOM = REACH // CELL - 1
_WIDTHS = (8, 64)  # voxels of a window, from and to
_USUAL_VOXELS = 4.0  # resolution over voxel size, where nothing tells


@dataclass(frozen=True)
class Molecule:
    """A map that was prepared for a net, and where its molecule is.

    Parameters
    ----------
    density : array that can be sliced
        Normalised, on the model's grid.
    cells : (z, y, x) bool
        True where any of a cell's 8^3 voxels is needed.
    working : Grid
        The model's.
    needed : array that can be sliced
        True in the molecule, on the model's grid.
    sampling : float, optional
        Voxel size of the map itself, Å.
    corner : (z, y, x)
        Voxel that the first cell begins at: cells lie about the middle of the molecule, wherever it lies in the map,
        and cover all of it. Voxels are counted from there.
    held : Box, optional
        The part of the grid that the map was in before its box was padded; all of it otherwise.
    """

    density: Any
    cells: Array
    working: Grid
    needed: Any
    sampling: float | None = None
    corner: Shape = (0, 0, 0)
    held: Box | None = None

    @classmethod
    def prepared(
        cls, scratch: Scratch, working: Grid, boxes: tuple[Box, Box], sampling: float | None = None
    ) -> Molecule:
        """Open what :func:`emres.run.prepare.prepare` wrote with a ``reach`` of at least ``REACH``.

        Parameters
        ----------
        scratch : Scratch
        working : Grid
        boxes : Box, Box
            Of what is needed of the map, and of what holds it, as it returned them.
        sampling : float
            Voxel size of the map itself, Å.
        """
        needed, (region, held) = scratch.open(NEEDED), boxes
        corner = as_shape(map(_first_cell, region.start, region.stop, held.start, held.stop))
        beyond = as_shape(CELL * -(-n // CELL) for n in Box(corner, held.stop).shape)  # whole cells
        boxes_of_cells = (box.moved(corner) for box in slabs(Grid(beyond, working.voxel_size)))
        parts = (read_box(needed, box, held=held) > 0 for box in boxes_of_cells)  # a mask may reach beyond the map
        cells = np.concatenate([block_any(part, CELL) for part in parts])
        return cls(scratch.open(DENSITY), cells, working, needed, sampling, corner, held)

    @property
    def room(self) -> Box:
        """The part of the grid that the map is in, counted from the corner."""
        held = self.held or Box((0, 0, 0), self.working.shape)
        return held.within(Box(self.corner, held.stop))

    def read(self, box: Box) -> Array:
        """Return a box of the density, zeros where it reaches beyond the faces."""
        return read_box(self.density, box.moved(self.corner), held=self.held)

    def where(self, box: Box) -> Array:
        """Return where a box is in the molecule."""
        return read_box(self.needed, box.moved(self.corner), held=self.held)

    def spectra(self) -> Spectra:
        """Return the power in the molecule, how it differs from place to place, and that of the noise in it."""
        found = bounding_box(self.cells)
        assert found is not None
        near = found.grown(_ROOM).clipped(self.cells.shape)
        part, cells = near.scaled(CELL), self.cells[near.slices]
        room = part.shared(self.room).within(part)

        def read(box: Box) -> Array:
            return self.read(box.moved(part.start))

        inside = mean_power(map(read, molecule_windows(cells, room)))
        outside = background_power(read, cells, room)
        contrast = molecule_contrast(self.read, self.where, self.cells)
        return Spectra(self.working.voxel_size[0], inside, trusted(outside, inside), contrast, self.sampling)

    def power(self, resolution: float, finest: float) -> LocalPower:
        """Return the power round places, in windows as wide as the dense local FSC has them.

        Parameters
        ----------
        resolution : float
            Å, of the whole map, about.
        finest : float
            Voxel size of the map, Å.
        """
        width = default_window(finest, resolution) / self.working.voxel_size[0]
        width = int(np.clip(4 * round(width / 4), *_WIDTHS))
        with side_by_side(torch.device("cpu")) as each:
            power = local_power(self.read, self.where, self.cells, self.room, width, each)
        return replace(power, start=as_shape(map(sum, zip(power.start, self.corner, strict=True))))


def _first_cell(start: int, stop: int, low: int, high: int) -> int:
    """Return the voxel that cells begin at, along one axis, so that they lie evenly about a molecule.

    The first one lies at, or reaches beyond, the lower of the two faces of the box. Where cells are an odd number of
    voxels longer than the molecule, the one left over goes to the side of the middle of the box: so the cells of a map
    that is turned are the same, turned.
    """
    beyond = (start - stop) % CELL
    first = start - (beyond // 2 if start + stop <= low + high else beyond - beyond // 2)
    return low - (low - first) % CELL


def places_of(
    molecule: Molecule, spectra: Spectra, resolution: float, finest: float
) -> tuple[PlaceCurves, float | None]:
    """Return the curves of a map's places, and the level that they show over its noise; None if that is not known.

    Parameters
    ----------
    molecule : Molecule
    spectra : Spectra
        Its own.
    resolution : float
        Å, of the whole map, about.
    finest : float
        Voxel size of the map, Å.
    """
    power = molecule.power(resolution, finest)
    shown = local_levels(power, spectra.outside).median if any(spectra.outside) else None
    return place_curves(power, spectra), shown


def prepare_for(
    contract: Contract,
    source: Pyramid,
    mask: Iterable[tuple[Box, Array]],
    working: Grid,
    scratch: Scratch,
    reported: float | None = None,
    folder: Path | str | None = None,
) -> None:
    """Prepare a map as a net wants it, and note what the net is told of it.

    Parameters
    ----------
    contract : Contract
        Of the net.
    source, mask, working, scratch
        As for :func:`emres.run.prepare.prepare`.
    reported : float, optional
        Resolution of the whole map, Å. Noted of a net that is told: ``condition``, numbers; ``warnings``, sentences if
        the map is unlike its training.
    folder : path, optional
        Of the net's bundle, whose readers say how finely the map is resolved; without it nothing is read.

    Raises
    ------
    MapError
        If the map or its mask is unusable.
    """
    reach = max(contract.reach, REACH) if contract.conditioned else contract.reach
    boxes = prepare(source, mask, working, scratch, reach=reach, normalisation=contract.normalisation)
    if contract.conditioned:
        grid = source.grid()
        molecule = Molecule.prepared(scratch, working, boxes, grid.mean_voxel_size)
        condition = _tell(contract, scratch, molecule, max(grid.voxel_size), reported=reported, folder=folder)
        warnings = unfamiliar(condition[:LENGTH], contract.familiar)
        notes = scratch.notes()
        warnings += stripped_of_the_rest(notes["stripped"]) + cut_through(notes["cut"])
        scratch.note(condition=condition.tolist(), warnings=warnings)


def _tell(
    contract: Contract,
    scratch: Scratch,
    molecule: Molecule,
    finest: float,
    *,
    reported: float | None,
    folder: Path | str | None,
) -> Array:
    """Return what the net is told, and write the pattern if it is one that reads it."""
    from emres.model.whole_map import guessed_resolution, levels_read

    spectra, working, stripped = molecule.spectra(), molecule.working, scratch.notes()["stripped"]
    if not contract.patterned:
        return with_level(condition_of(spectra, reported, stripped=stripped), None)
    resolution = shown_resolution(spectra) if any(spectra.outside) else reported
    if resolution is None and folder is not None:
        told, size = condition_of(spectra, stripped=stripped), working.voxel_size[0]
        resolution = guessed_resolution(folder, contract, told, size, stripped=stripped)
    curves, shown = places_of(molecule, spectra, resolution or _USUAL_VOXELS * working.voxel_size[0], finest)
    condition = condition_of(spectra, reported, shown, stripped=stripped)
    levels = None if folder is None else levels_read(folder, contract, condition, curves, stripped=stripped)
    pattern = scratch.create(PATTERN, working.shape, "float32")
    if levels is not None:
        for box in slabs(working):
            pattern[box.slices] = levels.pattern(box.start, box.shape)
    return with_level(condition, levels)


def inputs_of(contract: Contract) -> tuple[str, ...]:
    """Return the names of the arrays that a net's blocks are cut from."""
    return (DENSITY, NEEDED, PATTERN) if contract.patterned else (DENSITY, NEEDED)


def check_told(contract: Contract, reported: float | None) -> None:
    """Raise unless a net can be told of this resolution, Å, or is told of none.

    Raises
    ------
    UsageError
    """
    if reported is None:
        return
    if not 0 < reported < math.inf:
        raise UsageError("a resolution is a length", got=f"{reported:g} Å", expected="a positive number")
    if not contract.conditioned:
        cure = "leave it out, or use another model"
        raise UsageError(f"{contract.name_version} cannot be told a resolution", cure=cure)


def reported_resolution(group: EntryGroup) -> float | None:
    """Return the resolution that an entry's authors report, Å; None if they report none."""
    reported = group.attributes()["entry"].get("resolution")
    return float(reported) if isinstance(reported, int | float) and reported > 0 else None
