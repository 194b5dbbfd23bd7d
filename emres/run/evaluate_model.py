"""The model under test, called as a user calls it: by ``emres.predict``, on a whole map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.archive.registry import find_model
from emres.model.contract import Contract, read_contract
from emres.run.lazy import predict

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
    sigma : (z, y, x) array, optional
        Uncertainty, Å, computed when it is looked at; none from a model that has none.
    warnings : tuple of str
        Why the answer is doubtful.
    """

    resolution: Array
    sigma: Any = None
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
        UsageError, ModelError
            If there is none.
        """
        found = cls(find_model(model), device)
        found.contract  # noqa: B018 - a broken bundle is told here, before anything is computed
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
        settings: dict[str, Any] = {"mask": mask, "device": self.device}
        if not self.can_be_told:
            return _answer(predict(volume, self.folder, **settings))
        settings["reported_resolution"] = reported
        sigma = predict(volume, self.folder, uncertainty=True, **settings)
        return _answer(predict(volume, self.folder, **settings), sigma.data)


def _answer(lazy: xr.DataArray, sigma: Any = None) -> Answer:
    resolution = np.asarray(lazy.values)
    return Answer(resolution, sigma, tuple(lazy.attrs.get("warnings", ())))
