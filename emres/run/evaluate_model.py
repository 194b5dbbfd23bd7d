"""The model under test: the steps of ``emres predict``, one after the other, on a map that is in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.registry import find_model
from emres.archive.scratch import MemoryScratch, Scratch
from emres.model.contract import Contract, read_contract
from emres.run.blockwise import BlockJob, create_target, run_blocks
from emres.run.doubts import doubts
from emres.run.jobs import resolve_device
from emres.run.map_spectra import inputs_of, prepare_for
from emres.run.masks import mask_slabs
from emres.run.prepare import PREDICTION, SPREAD, finest_answer, marked, restore
from emres.volume.blocks import Box, plan_blocks
from emres.volume.grid import Grid, grid_of
from emres.volume.pyramid import MemoryPyramid

if TYPE_CHECKING:
    import xarray as xr

Array = np.ndarray[Any, Any]

BLIND, TOLD = "model", "model, told the reported resolution"


@dataclass(frozen=True)
class Answer:
    """What a model says of a map.

    Parameters
    ----------
    resolution : (z, y, x) float32
        Å; 0 outside the mask.
    sigma : (z, y, x) float32, optional
        Uncertainty, Å; none from a model that has none.
    warnings : tuple of str
        Why the answer is doubtful.
    """

    resolution: Array
    sigma: Array | None = None
    warnings: tuple[str, ...] = ()


# (volume, reported resolution in Å or None, mask: a word or a volume) -> Answer
Predict = Callable[["xr.DataArray", float | None, "str | xr.DataArray"], Answer]


@dataclass(frozen=True)
class ModelUnderTest:
    """A bundle that predicts.

    Parameters
    ----------
    folder : Path
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    """

    folder: Path
    device: str = "auto"

    @classmethod
    def named(cls, model: str | Path, device: str = "auto") -> ModelUnderTest:
        """Find a model by name or folder.

        Raises
        ------
        UsageError, ModelError, IntegrityError
            If there is none, or it is not what its contract states.
        """
        from emres.model.bundle import open_bundle

        found = cls(find_model(model), device)
        open_bundle(found.folder)  # a broken bundle is told here, not of every map
        return found

    @property
    def contract(self) -> Contract:
        """The model's contract."""
        return read_contract(self.folder)

    @property
    def can_be_told(self) -> bool:
        """Whether the model takes the reported resolution."""
        return self.contract.conditioned

    def facts(self) -> dict[str, Any]:
        """Return what tells the model's answers from those of any other, as JSON values."""
        contract = self.contract
        return {"model": contract.name_version, "weights_sha256": contract.weights_sha256}

    def __call__(self, volume: xr.DataArray, reported: float | None, mask: str | xr.DataArray) -> Answer:
        """Predict a map.

        Parameters
        ----------
        volume : DataArray
        reported : float, optional
            Å; None to predict blind.
        mask : str or DataArray
            As in :func:`emres.predict`.

        Returns
        -------
        Answer

        Raises
        ------
        EmresError
            If the map cannot be predicted.
        """
        contract, grid = self.contract, grid_of(volume)
        working = contract.working_grid(grid)
        source = MemoryPyramid(np.asarray(volume.values, dtype=np.float32), grid)
        scratch = MemoryScratch()
        boxes = _boxes(source, mask, volume.attrs.get("contour_level"))
        prepare_for(contract, source, boxes, working, scratch, reported, self.folder)
        blocks = self._blocks(scratch, working)
        create_target(blocks)
        for _ in run_blocks(blocks):
            pass
        resolution = _restored(scratch, grid, working, 0 if contract.cube else finest_answer(grid))
        if contract.cube:
            resolution = marked(resolution, source.array())
        sigma = _restored(scratch, grid, working, 0, SPREAD) if self.can_be_told else None
        notes = scratch.notes()
        doubtful = self._doubts(resolution, sigma, notes.get("condition", []), (grid, working), reported)
        warnings = [*notes.get("warnings", ()), *doubtful]
        return Answer(resolution, sigma, tuple(warnings))

    def _doubts(
        self,
        resolution: Array,
        sigma: Array | None,
        condition: list[float],
        grids: tuple[Grid, Grid],
        reported: float | None,
    ) -> list[str]:
        """Return what a user would be told of an answer."""
        inside = resolution > 0
        if sigma is None or not inside.any():
            return []
        median, unsure = (float(np.median(values[inside])) for values in (resolution, sigma))
        return doubts(median, unsure, reported, condition, self.contract, grids)

    def _blocks(self, scratch: Scratch, working: Grid) -> BlockJob:
        """Return the work of the net: on the whole map, which is in memory."""
        from emres.model.inference import make_predictor

        contract, size = self.contract, working.voxel_size[0]
        predictor = make_predictor(self.folder, working_voxel_size=size, device=resolve_device(self.device))
        predictor = predictor.told(scratch.notes().get("condition", ()))
        whole = -(-max(working.shape) // contract.multiple) * contract.multiple
        plan = plan_blocks(working.shape, whole, contract.halo, contract.multiple)
        also = (SPREAD,) if self.can_be_told else ()
        return BlockJob(predictor, plan, scratch, inputs_of(contract), PREDICTION, also=also)


def _boxes(source: MemoryPyramid, mask: str | xr.DataArray, contour_level: float | None) -> Any:
    if isinstance(mask, str):
        return mask_slabs(source, mask, contour_level)
    return [(Box((0, 0, 0), source.grid().shape), np.asarray(mask.values) > 0.5)]


def _restored(scratch: Scratch, grid: Grid, working: Grid, finest: float, name: str = PREDICTION) -> Array:
    values = np.zeros(grid.shape, dtype=np.float32)
    for box, part in restore(scratch, grid, working, finest, name):
        values[box.slices] = part
    return values
