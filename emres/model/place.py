"""How finely a map is resolved round each place of it, read off the power there: one number for every few voxels.

The same reading as that of the whole map (:mod:`emres.model.level`), of curves that are of the place as well: how its
power differs from that of the molecule, in the window of a dense local FSC. What a net answers starts from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emres.model.level import CurveReader, Curves, varied
from emres.volume.levels import Levels
from emres.volume.place_curves import PlaceCurves

Array = np.ndarray[Any, Any]

_MEMBERS, _CHANNELS = 3, 32
_AT_ONCE = 512  # places: what a cache holds is read in a third of the time


class PlaceReader(nn.Module):
    """Levels of places, log(resolution / voxel size), from what is known of the map and of each: the mean of several.

    Examples
    --------
    >>> from emres.model.condition import LENGTH
    >>> PlaceReader()(torch.zeros(2, LENGTH), torch.zeros(2, 7, 2, 44)).shape
    torch.Size([2, 7])
    """

    def __init__(self) -> None:
        super().__init__()
        self.curves = Curves()
        self.members = nn.ModuleList(CurveReader(Curves.COUNT + 4, _CHANNELS) for _ in range(_MEMBERS))
        self.requires_grad_(False)  # it learns apart from the net that it is a part of

    def forward(self, condition: Tensor, places: Tensor) -> Tensor:
        """Return the levels, (batch, n).

        Parameters
        ----------
        condition : (batch, LENGTH) float32
        places : (batch, n, 2, 44) float32
            As :class:`emres.volume.place_curves.PlaceCurves` has them.
        """
        return self.each(condition, places).mean(0)

    def each(self, condition: Tensor, places: Tensor) -> Tensor:
        """Return what every member reads, (members, batch, n); in training they meet errors."""
        batch, count = places.shape[:2]
        of_map, here = self.curves(condition), places.flatten(0, 1)
        if self.training:
            of_map, here = varied(of_map, Curves.EXACT), varied(here)
        here = torch.cat([here, torch.tanh(here @ self.curves.slope / 2)], 1)
        found = [member(of_map, self.curves.places, here).view(batch, count) for member in self.members]
        return torch.stack(found)


def read_places(reader: PlaceReader, condition: Array, curves: PlaceCurves) -> Levels:
    """Return what a reader, in evaluation mode, finds in a map.

    Parameters
    ----------
    reader : PlaceReader
    condition : (LENGTH,) float32
    curves : PlaceCurves
    """
    told = torch.from_numpy(condition)[None]
    with torch.inference_mode():
        parts = [
            reader(told, torch.from_numpy(curves.values[k : k + _AT_ONCE]).float()[None])[0].numpy()
            for k in range(0, len(curves.values), _AT_ONCE)
        ]
    return curves.levels(np.concatenate(parts))
