"""What the readers of a bundle find in a map, before its net looks at any voxel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from emres.model.contract import Contract
from emres.model.inference import opened_net
from emres.model.place import read_places
from emres.volume.levels import Levels
from emres.volume.place_curves import PlaceCurves

Array = np.ndarray[Any, Any]

_LOCAL_OVER_REPORTED = 1.2  # median of simulated maps


def guessed_resolution(folder: Path | str, contract: Contract, condition: Array, voxel_size: float) -> float | None:
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

    Raises
    ------
    ModelError, IntegrityError
        If the bundle cannot be opened.
    """
    net, _ = opened_net(str(folder), contract.weights_sha256, "cpu")
    if not hasattr(net, "level"):
        return None
    with torch.inference_mode():
        level = float(net.level(torch.from_numpy(condition)[None]))  # type: ignore[operator]
    return float(np.clip(np.exp(level), *contract.valid_range)) * voxel_size / _LOCAL_OVER_REPORTED


def levels_read(folder: Path | str, contract: Contract, condition: Array, curves: PlaceCurves) -> Levels | None:
    """Return what the reader of a bundle finds in a map; None if its net has none.

    Raises
    ------
    ModelError, IntegrityError
        If the bundle cannot be opened.
    """
    net, _ = opened_net(str(folder), contract.weights_sha256, "cpu")
    reader = getattr(getattr(net, "film", None), "places", None)
    return None if reader is None else read_places(reader, condition, curves)
