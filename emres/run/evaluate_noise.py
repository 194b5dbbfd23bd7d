"""The floor under every error: how far two targets of the same object are apart when only the noise is drawn anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from emres.archive.attributes import LOCAL_RESOLUTION
from emres.archive.manifest import DataSet, Row
from emres.errors import StoreError, UsageError
from emres.model.evaluate import MapErrors, map_errors
from emres.run.evaluate_map import Truth
from emres.run.jobs import resolve_device
from emres.run.methods import make_recipe
from emres.run.patch_entries import HALF_MAPS, check_row

Array = np.ndarray[Any, Any]

_SAME = 1e-3  # of the density's standard deviation: the program still makes what is in the store


def noise_floor(dataset: DataSet, row: Row, models: Path | str, *, draw: int = 1, device: str = "auto") -> MapErrors:
    """Simulate an entry again with other noise and return how far its new target is from the one in the data set.

    Parameters
    ----------
    dataset : DataSet
    row : Row
        Of a simulated entry.
    models : path
        The folder that holds its atomic model.
    draw : int
        Which noise; 0 is the entry's own.
    device : str

    Returns
    -------
    MapErrors
        Of the new target, where both say something.

    Raises
    ------
    UsageError
        If the entry was not simulated, its target needs no half maps, or its model is not in the folder.
    StoreError
        If this version of emres simulates it differently.
    """
    from emres.simulate.halfmaps import add_noise, simulate_signal

    group = check_row(dataset, row)
    truth = Truth.of(group, row)
    recipe = make_recipe(row.target.removeprefix(f"{LOCAL_RESOLUTION}/"))
    if not recipe.halves:
        raise UsageError(f"the target of {row.entry} does not come from half maps", got=recipe.name)
    signal = simulate_signal(*_simulated(group.attributes()["entry"], row, Path(models)))
    again = add_noise(signal, 0).half_map_1
    kept = np.asarray(group.array(HALF_MAPS[0])[...])
    if again.shape != kept.shape or float(np.abs(again - kept).max()) > _SAME * float(kept.std()):
        raise StoreError(f"this emres simulates {row.entry} differently", cure="simulate the data set again")
    halves = add_noise(signal, draw)
    maps = [halves.half_map_1, halves.half_map_2]
    found = recipe.run(maps, truth.grid, truth.target > 0, resolve_device(device))
    answer = recipe.resolved(found.resolution)
    # At the clip value of either there is nothing to compare.
    both = truth.counts & (answer > 2.0001 * max(truth.grid.voxel_size)) & (answer < 0.98 * (found.window or np.inf))
    return map_errors(answer, truth.target, both)


def _simulated(entry: dict[str, Any], row: Row, models: Path) -> tuple[Any, Any]:
    """Return the atoms and the recipe of an entry."""
    from emres.simulate.atoms import read_atoms
    from emres.simulate.recipe_files import recipe_from

    if "recipe" not in entry or "model" not in entry:
        raise UsageError(f"{row.entry} was not simulated", expected="an entry of emres dataset build --simulate")
    path = models / entry["model"]["file"]
    if not path.is_file():
        raise UsageError(f"the model of {row.entry} is missing", got=f"no {path}", cure="give the folder of the models")
    return read_atoms(path), recipe_from(entry["recipe"])
