"""What the readers of a bundle find in a map, before its net looks at any voxel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from emres.model.conditioned import Film, Readers
from emres.model.contract import Contract
from emres.model.inference import opened_net
from emres.model.level import LevelReader
from emres.model.place import read_places
from emres.volume.levels import Levels
from emres.volume.place_curves import PlaceCurves

Array = np.ndarray[Any, Any]

_LOCAL_OVER_REPORTED = 1.2  # median of simulated maps


def guessed_resolution(
    folder: Path | str, contract: Contract, condition: Array, voxel_size: float, *, stripped: bool = False
) -> float | None:
    """Return what the authors of a map might report of it, Å; None if the net has no opinion.

    Parameters
    ----------
    folder : path
        Of the bundle.
    contract : Contract
    condition : (LENGTH,) float32
        Of the map, with nothing told of a resolution.
    voxel_size : float
        Å, of the model's grid.
    stripped : bool
        Whether nothing in the map lies below its background: such maps have readers of their own.

    Raises
    ------
    ModelError, IntegrityError
        If the bundle cannot be opened.
    """
    readers = _readers(folder, contract, stripped)
    if readers is None:
        return None
    return guess(readers.level, condition, contract.valid_range) * voxel_size


def guess(reader: LevelReader, condition: Array, valid: tuple[float, float]) -> float:
    """Return what might be reported of a map that a reader knows this of, in voxels.

    Parameters
    ----------
    reader : LevelReader
    condition : (LENGTH,) float32
    valid : (float, float)
        Voxels: no local resolution is finer or coarser.
    """
    with torch.inference_mode():
        level = float(reader(torch.from_numpy(condition)[None]))
    return float(np.clip(np.exp(level), *valid)) / _LOCAL_OVER_REPORTED


def levels_read(
    folder: Path | str, contract: Contract, condition: Array, curves: PlaceCurves, *, stripped: bool = False
) -> Levels | None:
    """Return what the reader of a bundle finds in a map; None if its net has none.

    Parameters
    ----------
    folder, contract, condition, stripped
        As for :func:`guessed_resolution`, of all that is known of the map.
    curves : PlaceCurves
        Of its places.

    Raises
    ------
    ModelError, IntegrityError
        If the bundle cannot be opened.
    """
    readers = _readers(folder, contract, stripped)
    return None if readers is None else read_places(readers.places, condition, curves)


def _readers(folder: Path | str, contract: Contract, stripped: bool) -> Readers | None:
    """Return what reads levels of usual maps, or of stripped ones: ``level`` and ``places``; None if a net has none."""
    net, _ = opened_net(str(folder), contract.weights_sha256, "cpu")
    film = getattr(net, "film", None)
    return film.readers(stripped) if isinstance(film, Film) else None
