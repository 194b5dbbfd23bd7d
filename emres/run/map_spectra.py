"""The spectra of a map that was prepared for a net: taken on the grid of the model, alike for training and after."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from emres.archive.scratch import Scratch
from emres.archive.store import EntryGroup
from emres.errors import MapError, UsageError
from emres.model.condition import condition_of
from emres.model.contract import Contract
from emres.model.familiar import unfamiliar
from emres.run.masks import slabs
from emres.run.prepare import DENSITY, NEEDED, prepare
from emres.volume.blocks import Box
from emres.volume.boxes import bounding_box
from emres.volume.grid import Grid, Shape
from emres.volume.masking import block_any
from emres.volume.pyramid import Pyramid
from emres.volume.spectrum import CELL, SIDE, Spectra, mean_power, window_places

Array = np.ndarray[Any, Any]

# Voxels round the molecule that must have been prepared, so that windows find room beside it: the windows lie in
# `_ROOM` cells round the cells of the molecule, which reach up to a cell beyond it.
REACH = SIDE + 2 * CELL
_ROOM = REACH // CELL - 1


def spectra_of(scratch: Scratch, working: Grid) -> Spectra:
    """Take the spectra of a map, normalised and on the model's grid.

    Parameters
    ----------
    scratch : Scratch
        Holds ``needed`` and ``density``, as :func:`emres.run.prepare.prepare` wrote them with a ``reach`` of at least
        ``REACH``.
    working : Grid

    Returns
    -------
    Spectra

    Raises
    ------
    MapError
        If nothing is needed.
    """
    density, needed = scratch.open(DENSITY), scratch.open(NEEDED)
    cells = np.concatenate([block_any(np.asarray(needed[box.slices]), CELL) for box in slabs(working)])
    molecule = bounding_box(cells)
    if molecule is None:
        raise MapError("the mask holds no voxel", cure="use --mask auto or none, or a lower contour level")
    room = molecule.grown(_ROOM).clipped(cells.shape)
    corner = tuple(CELL * a for a in room.start)
    shape = tuple(min(CELL * b, n) - a for b, n, a in zip(room.stop, working.shape, corner, strict=True))
    inside, outside = window_places(cells[room.slices], _shape(shape))
    return Spectra(
        working.voxel_size[0],
        *(mean_power(_padded(density, box.moved(_shape(corner))) for box in boxes) for boxes in (inside, outside)),
    )


def prepare_for(
    contract: Contract,
    source: Pyramid,
    mask: Iterable[tuple[Box, Array]],
    working: Grid,
    scratch: Scratch,
    reported: float | None = None,
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

    Raises
    ------
    MapError
        If the map or its mask is unusable.
    """
    reach = max(contract.reach, REACH) if contract.conditioned else contract.reach
    prepare(source, mask, working, scratch, reach=reach, normalisation=contract.normalisation)
    if contract.conditioned:
        condition = condition_of(spectra_of(scratch, working), reported)
        scratch.note(condition=condition.tolist(), warnings=unfamiliar(condition, contract.familiar))


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


def _padded(density: Any, box: Box) -> Array:
    """Return a window, zeros where it reaches beyond the far faces."""
    held = np.asarray(density[box.clipped(_shape(density.shape)).slices], dtype=np.float32)
    return (
        held
        if held.shape == box.shape
        else np.pad(held, [(0, a - n) for a, n in zip(box.shape, held.shape, strict=True)])
    )


def _shape(values: Any) -> Shape:
    z, y, x = (int(value) for value in values)
    return z, y, x
