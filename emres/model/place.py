"""How finely a map is resolved round each place of it, read off the power there: one number for every few voxels.

The same reading as that of the whole map (:mod:`emres.model.level`), of curves that are of the place as well: how its
power differs from that of the molecule, in the window of a dense local FSC. What a net answers starts from it.

::

    curves of the map, of each place --> convolution --> (+ what places have in common) --> convolutions, likewise
      --> a weight for every frequency --> its weighted mean                       after each of them

How places of a molecule differ, shell by shell, tells signal from noise where nothing else does: so after every layer
a place is told the mean and the spread of its features over the molecule (Deep Sets: Zaheer et al., NeurIPS 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emres.model.level import KERNEL, CurveReader, Curves, along, varied
from emres.volume.levels import Levels
from emres.volume.place_curves import PlaceCurves
from emres.volume.spectrum import kept

Array = np.ndarray[Any, Any]

_DROPPED = 0.1  # share of features, in training
_AT_ONCE = 128  # places: what a cache holds is read in half of the time
_TOGETHER = 512  # places of the molecule that are looked at together, at most
_LEAST = 1e-4  # added to a variance


class PlacesReader(CurveReader):
    """Curves of the places of a map -> their levels; every place is told what the others are like.

    Parameters
    ----------
    count : int
        Curves.
    channels : int
    """

    def __init__(self, count: int, channels: int) -> None:
        super().__init__(count, channels, _DROPPED)
        layers = 1 + len(self.further)
        self.together = nn.ModuleList(
            nn.Conv1d(2 * channels, channels, KERNEL, padding=KERNEL // 2) for _ in range(layers)
        )

    def read(
        self, of_map: Tensor, places: Tensor, here: Tensor, common: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the levels, (batch, n), and what places have in common, after every layer: (batch, 44, channels) each.

        Parameters
        ----------
        of_map : (batch, curves, 44) float32
        places : (44,) float32
            The axis.
        here : (batch, n, others, 44) float32
        common : sequence of tensors, optional
            What was found of other places of the maps; by default these are looked at together.
        """
        features, found = self.dropped(self.begun(of_map, here)), []
        for k, joint in enumerate(self.together):
            if k:
                features = features + torch.relu(along(self.further[k - 1], features))
            apart = features.view(*here.shape[:2], *features.shape[1:])
            found.append(_joint(joint, apart) if common is None else common[k])
            features = (apart + found[-1][:, None]).flatten(0, 1)
        return self.level(features, places).view(here.shape[:2]), found


def _joint(layer: nn.Module, features: Tensor) -> Tensor:
    """Return what all places of each map are told of its places, from features: (batch, n, 44, channels)."""
    mean = features.mean(1)
    spread = ((features.square().mean(1) - mean.square()).relu() + _LEAST).sqrt()  # ``var`` takes ten times as long
    return torch.relu(along(layer, torch.cat([mean, spread], 2)))


class PlaceReader(nn.Module):
    """Levels of places, log(resolution / voxel size), from what is known of the map and of each: the mean of several.

    Parameters
    ----------
    members : int
        Readers that learn the same, each from its own start. While a net learns from what they read, each is kept from
        its own part of the maps: what one has not seen it reads as it will read any other.
    channels : int
        Of each.

    Examples
    --------
    >>> from emres.model.condition import LENGTH
    >>> PlaceReader()(torch.zeros(2, LENGTH), torch.zeros(2, 7, 2, 44)).shape
    torch.Size([2, 7])
    """

    def __init__(self, members: int = 2, channels: int = 48) -> None:
        super().__init__()
        self.curves = Curves()
        self.members = nn.ModuleList(PlacesReader(Curves.COUNT + 4, channels) for _ in range(members))
        self.requires_grad_(False)  # it learns apart from the net that it is a part of

    def forward(self, condition: Tensor, places: Tensor) -> Tensor:
        """Return the levels, (batch, n).

        Parameters
        ----------
        condition : (batch, LENGTH) float32
        places : (batch, n, 2, 44) float32
            As :class:`emres.volume.place_curves.PlaceCurves` has them; they are looked at together.
        """
        return self.each(condition, places).mean(0)

    def each(self, condition: Tensor, places: Tensor, members: Sequence[int] | None = None) -> Tensor:
        """Return what members read, all or some, (members, batch, n); in training they meet errors."""
        return self.read(condition, places, members)[0]

    def read(
        self,
        condition: Tensor,
        places: Tensor,
        members: Sequence[int] | None = None,
        common: Sequence[Sequence[Tensor]] | None = None,
    ) -> tuple[Tensor, list[list[Tensor]]]:
        """Return what members read, and what each finds that places have in common."""
        asked = range(len(self.members)) if members is None else members
        of_map = self.curves(condition)
        if self.training:
            of_map, places = varied(of_map, Curves.EXACT), varied(places.flatten(0, 1)).view_as(places)
        here = torch.cat([places, torch.tanh(places @ self.curves.slope / 2)], 2)
        found = [
            self.members[k].read(of_map, self.curves.places, here, None if common is None else common[n])  # type: ignore[operator]
            for n, k in enumerate(asked)
        ]
        return torch.stack([levels for levels, _ in found]), [joint for _, joint in found]


def read_places(
    reader: PlaceReader, condition: Array, curves: PlaceCurves, members: Sequence[int] | None = None
) -> Levels:
    """Return what a reader, in evaluation mode, finds in a map.

    Parameters
    ----------
    reader : PlaceReader
    condition : (LENGTH,) float32
    curves : PlaceCurves
    members : sequence of int, optional
        Which are asked; all by default.
    """
    told = torch.from_numpy(condition)[None]

    def given(chosen: Any) -> Tensor:
        return torch.from_numpy(curves.values[chosen]).float()[None]

    with torch.inference_mode():
        _, common = reader.read(told, given(_of_molecule(curves)), members)
        parts = [
            reader.read(told, given(slice(k, k + _AT_ONCE)), members, common)[0].mean(0)[0].numpy()
            for k in range(0, len(curves.values), _AT_ONCE)
        ]
    return curves.levels(np.concatenate(parts))


def _of_molecule(curves: PlaceCurves) -> Array:
    """Return which places stand for the molecule: of a large one some."""
    inside = np.flatnonzero(curves.inside if curves.inside.any() else np.ones_like(curves.inside))
    return np.asarray(inside[kept(curves.places[inside].astype(np.int64), _TOGETHER)])
