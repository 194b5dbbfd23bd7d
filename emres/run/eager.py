"""Estimates for notebooks: volumes in, a volume out, computed at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emres.errors import UsageError
from emres.run.estimate import average, check_memory, facts_of, missing_halves
from emres.run.jobs import check_choices, resolve_device
from emres.run.masks import whole_mask
from emres.run.methods import make_recipe, warnings_of
from emres.view.progress import notebook_bars
from emres.volume.grid import grid_of, make_volume
from emres.volume.pyramid import MemoryPyramid

if TYPE_CHECKING:
    import xarray as xr


def estimate(
    source: xr.DataArray | Sequence[xr.DataArray],
    method: str = "fsc",
    *,
    definition: str | None = None,
    threshold: float | None = None,
    mask: str | xr.DataArray = "auto",
    device: str = "auto",
    **settings: float | None,
) -> xr.DataArray:
    """Estimate the local resolution of a volume, or of two half maps, by a reference method.

    Parameters
    ----------
    source : DataArray or two of them
        (z, y, x) density with coordinates in Å: two half maps for ``fsc`` and ``monores-half``, one map for the others.
        Two half maps given to ``monores`` mean ``monores-half``.
    method : str
        ``fsc``, ``monores``, ``monores-half`` or ``resmap``.
    definition : str, optional
        Of ``fsc``: ``dense`` (the default), ``relion`` or ``blocres``.
    threshold : float, optional
        Of ``fsc``: 0.143 by default.
    mask : str or DataArray
        ``auto``, ``contour`` (needs ``attrs["contour_level"]``), ``none``, a mask file, or a volume (inside above 0.5).
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    **settings
        ``window``, ``sampling``, ``min_resolution``, ``max_resolution`` (Å), ``box`` (voxels), ``step``, as the method
        has them.

    Returns
    -------
    xarray.DataArray
        (z, y, x) float32 Å, 0 outside the mask; attributes ``method``, ``definition``, ``threshold``, ``window``,
        ``parameters``, ``capped_share``, ``unresolved_share``, ``warnings``.

    Raises
    ------
    UsageError
        If a word is unknown, the arrays are no volumes or on different grids, or half maps are missing.
    MapError
        If map or mask cannot be used.
    """
    volumes = _volumes(source)
    recipe = make_recipe(_meant(method, len(volumes)), definition, threshold, **settings)
    check_choices(mask if isinstance(mask, str) else "none", device)
    if recipe.halves and len(volumes) != 2:
        raise missing_halves(recipe, "got one map", "pass both: estimate((half_1, half_2))")
    if len(volumes) > (2 if recipe.halves else 1):
        raise UsageError(f"{recipe.estimator} reads one map", got=f"{len(volumes)}")
    grid = grid_of(volumes[0])
    if not all(grid_of(volume).matches(grid) for volume in volumes):
        raise UsageError("the half maps lie on different grids", got=f"{volumes[1].shape}", expected=f"{grid.shape}")
    check_memory(grid, recipe.volumes)
    maps = [np.asarray(volume.values, dtype=np.float32) for volume in volumes]
    inside = whole_mask(MemoryPyramid(average(maps), grid), mask, volumes[0].attrs.get("contour_level"))
    with notebook_bars(1, "estimate") as tell:
        tell(recipe.estimator, "estimate", 0, 0)
        found = recipe.run(maps, grid, inside, resolve_device(device))
        tell(recipe.estimator, "done", 1, 1)
    header = {key: volumes[0].attrs[key] for key in ("emdb_id", "mrc_header") if key in volumes[0].attrs}
    return make_volume(
        found.resolution, grid, kind=recipe.result, **header, **facts_of(recipe, found, warnings_of(recipe, maps, grid))
    )


def _meant(method: str, volumes: int) -> str:
    return "monores-half" if method == "monores" and volumes == 2 else method


def _volumes(source: xr.DataArray | Sequence[xr.DataArray]) -> list[xr.DataArray]:
    return list(source) if isinstance(source, list | tuple) else [source]  # type: ignore[list-item]
