"""Prediction as a lazy array, for notebooks: slice it, and only the blocks under the slice go through the net."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.attributes import LOCAL_RESOLUTION, UNCERTAINTY
from emres.archive.registry import DEFAULT_MODEL, find_model
from emres.archive.scratch import MemoryScratch
from emres.errors import UsageError
from emres.run.blockwise import lazy_blocks
from emres.run.jobs import resolve_device
from emres.run.map_spectra import check_told, inputs_of, prepare_for
from emres.run.masks import mask_slabs
from emres.run.prepare import MASK, NEEDED, finest_answer, marked, to_grid
from emres.volume.blocks import Box, plan_blocks
from emres.volume.grid import Grid, grid_of, make_volume
from emres.volume.pyramid import MemoryPyramid
from emres.volume.resample import resampling_matrices, support

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr

    from emres.model.bundle import ModelBundle
    from emres.model.contract import Contract

Array = np.ndarray[Any, Any]

_CORE = 96  # voxels: small enough that a slice costs little, large enough that the halo costs less than the core


def load_model(model: str | Path = DEFAULT_MODEL) -> ModelBundle:
    """Open a model by name or folder.

    Parameters
    ----------
    model : str or path
        ``emres-small``, or the folder of a bundle.

    Returns
    -------
    ModelBundle

    Raises
    ------
    UsageError
        If there is no such model.
    ModelError, IntegrityError
        If the bundle cannot be trusted.
    """
    from emres.model.bundle import open_bundle

    return open_bundle(find_model(model))


def predict(
    volume: xr.DataArray,
    model: str | Path | ModelBundle = DEFAULT_MODEL,
    *,
    mask: str | xr.DataArray = "auto",
    device: str = "auto",
    core: int | None = None,
    reported_resolution: float | None = None,
    uncertainty: bool = False,
) -> xr.DataArray:
    """Predict the local resolution of a volume, lazily.

    Parameters
    ----------
    volume : xarray.DataArray
        (z, y, x) density with coordinates in Å: from ``open_volume``, ``read_mrc`` or ``make_volume``.
    model : str, path or ModelBundle
        Name, folder, or what ``load_model`` returned.
    mask : str or DataArray
        ``auto``, ``contour`` (needs ``volume.attrs["contour_level"]``), ``none``, a mask file, or a volume (inside
        above 0.5).
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    core : int, optional
        Side of a block on the model's grid, voxels; at least the halo of the net.
    reported_resolution : float, optional
        Å, of the whole map, if it is known: a net that can be told takes the level of its answer from it.
    uncertainty : bool
        Return one standard deviation of every voxel instead.

    Returns
    -------
    xarray.DataArray
        (z, y, x) float32 Å, dask-backed, 0 outside the mask. Nothing is computed yet: ``.compute()`` the whole, or
        slice first. Statistics and resampling see the whole map; the net only the blocks under the slice.

    Raises
    ------
    UsageError
        If the array is not a volume, the model or the mask does not exist, the reported resolution is none, or the
        model tells no uncertainty.
    """
    import dask.array as da

    from emres.model.contract import read_contract
    from emres.model.inference import RESOLUTION_AND_SPREAD, make_predictor

    folder = _folder_of(model)
    contract, grid = read_contract(folder), grid_of(volume)
    check_told(contract, reported_resolution)
    if uncertainty and not contract.conditioned:
        raise UsageError(f"{contract.name_version} does not tell how sure it is", cure="use another model")
    working = contract.working_grid(grid)
    side = _rounded(max(core or _CORE, contract.halo), contract.multiple)
    plan = plan_blocks(working.shape, side, contract.halo, contract.multiple)
    (inside, *inputs), told = _prepared(volume, grid, working, mask, contract, reported_resolution, folder)
    predictor = make_predictor(
        folder, working_voxel_size=working.voxel_size[0], device=resolve_device(device), with_spread=uncertainty
    )
    dtype = RESOLUTION_AND_SPREAD if uncertainty else np.float32
    on_working_grid = lazy_blocks(predictor, inputs, plan, told=told, dtype=dtype)
    if uncertainty:
        on_working_grid = on_working_grid["spread"]
    chunks = plan_blocks(grid.shape, core or _CORE)
    finest = 0 if contract.cube or uncertainty else finest_answer(grid)
    parts = [_restored(on_working_grid, inside, block.write, grid, working, finest) for block in chunks]
    z, y, x = chunks.counts
    nested = [[parts[(i * y + j) * x : (i * y + j + 1) * x] for j in range(y)] for i in range(z)]
    header = {"mrc_header": volume.attrs["mrc_header"]} if "mrc_header" in volume.attrs else {}
    resolution = da.block(nested)
    if contract.cube:
        resolution = da.map_blocks(marked, resolution, da.asarray(volume.data).rechunk(resolution.chunks))
    return make_volume(
        resolution,
        grid,
        emdb_id=volume.attrs.get("emdb_id"),
        kind=f"{UNCERTAINTY if uncertainty else LOCAL_RESOLUTION}/{contract.name_version}",
        model=contract.name_version,
        **header,
    )


def _folder_of(model: str | Path | ModelBundle) -> Path:
    folder = find_model(model) if isinstance(model, str | Path) else model.folder
    if folder is None:
        raise UsageError("this model was never saved", cure="save it with save_bundle, then load_model(folder)")
    return folder


def _rounded(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _prepared(
    volume: xr.DataArray,
    grid: Grid,
    working: Grid,
    mask: str | xr.DataArray,
    contract: Contract,
    reported: float | None,
    folder: Path,
) -> tuple[tuple[da.Array, ...], Any]:
    """Return the mask on the map's grid and what blocks are cut from on the model's, as lazy arrays of one chunk.

    Behind them what the net is told of the map, delayed too; None for a net that is told nothing.
    """
    import dask
    import dask.array as da

    given = mask if isinstance(mask, str) else mask.data
    if not isinstance(mask, str) and not grid_of(mask).matches(grid):
        raise UsageError("the mask lies on another grid than the volume", got=f"{mask.shape}", expected=f"{grid.shape}")
    level = volume.attrs.get("contour_level")
    names = inputs_of(contract)
    prepare = dask.delayed(_prepare, nout=len(names) + 2)
    told, *arrays = prepare(volume.data, given, grid, working, level, contract, reported, folder)
    kinds = [np.bool_ if name == NEEDED else np.float32 for name in names]
    shapes = ((grid.shape, np.bool_), *((working.shape, kind) for kind in kinds))
    lazy = tuple(da.from_delayed(part, shape, dtype) for part, (shape, dtype) in zip(arrays, shapes, strict=True))
    return lazy, told if contract.conditioned else None


def _prepare(
    values: Array,
    mask: str | Array,
    grid: Grid,
    working: Grid,
    contour_level: float | None,
    contract: Contract,
    reported: float | None,
    folder: Path,
) -> tuple[Any, ...]:
    source = MemoryPyramid(np.asarray(values, dtype=np.float32), grid)
    whole = Box((0, 0, 0), grid.shape)
    boxes = mask_slabs(source, mask, contour_level) if isinstance(mask, str) else [(whole, np.asarray(mask) > 0.5)]
    scratch = MemoryScratch()
    prepare_for(contract, source, boxes, working, scratch, reported, folder)
    return scratch.notes().get("condition", []), *map(scratch.open, (MASK, *inputs_of(contract)))


def _restored(
    on_working_grid: da.Array, inside: da.Array, box: Box, grid: Grid, working: Grid, finest: float
) -> da.Array:
    """Return one box of the map's grid from the part of the working grid that it depends on."""
    import dask.array as da

    matrices = resampling_matrices(working, grid, "linear")
    where = support(matrices, box)
    rows = tuple(matrix[part, columns] for matrix, part, columns in zip(matrices, box.slices, where, strict=True))
    return da.map_blocks(
        to_grid,
        on_working_grid[where].rechunk(-1),
        inside[box.slices],
        matrices=rows,
        finest=finest,
        chunks=tuple((n,) for n in box.shape),
        meta=np.empty((0, 0, 0), dtype=np.float32),
        dtype=np.float32,
    )
