"""The conditioned 3D U-Net: a compact, block-exact U-Net that is told of the whole map, and says how sure it is.

::

    condition (numbers of the whole map), power round many places
      --> level of every place, see `emres.model.place`; the level of the map is their median, the pattern the rest
    condition, level --> two hidden layers --> a gain and an offset for every channel of every layer (FiLM)
    pattern --> the encoder, and the answer
    density, 1 channel, full sampling
      |  stem: fixed, see `emres.model.unet`                  half sampling, 21 channels
      |  learnt filters -> square -> mean of 3^3 -> log: energies in bands that the net chooses, beside the stem's
      |  conv 3^3
      +----------------------------- skip ---------+
      |  conv 2^3, stride 2                        |
      |  x + conv 3^3   (deep_layers times)        |         quarter sampling
      |  transposed conv 2^3, stride 2             |
      +--------------------------------------- concatenate
      |  conv 3^3, conv 1^3 -> 2 channels                    half sampling
      v  trilinear up-sampling, corners not aligned: local resolution changes slowly from voxel to voxel
    log(local resolution / voxel size) = level + gain x pattern + deviation, and the log of its spread, full sampling

Levels are learnt first, from whole maps; patches then teach what they miss, and how far off they are. Of maps that were
stripped of all below their background levels alone are the answer: they look so different that what patches teach does
not hold for them.

The condition is the same in every block of a map, so block-wise equals whole here too. FiLM: Perez et al., AAAI 2018.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from emres.errors import UsageError
from emres.model.condition import KINDS_OF_NOISE, LENGTH, STRIPPED_KIND, are_stripped, kinds_of, whitened
from emres.model.level import LevelReader
from emres.model.place import PlaceReader
from emres.model.unet import NO_MARGINS, Margins, Trim, TwoLevelUNet, blurred, check_sides, joined

_ENERGY_FLOOR = 1e-4  # of features of order one
_HIDDEN = 64
_USUAL_SPREAD = 0.15  # of log(local resolution) about what is predicted
_DROPPED, _ERROR = 0.3, 0.1  # share of hidden numbers that training leaves out, error it adds: there are few maps


class Readers(nn.Module):
    """What reads the level of a map as a whole, a first guess, and of each of its places.

    Parameters
    ----------
    members : int
        Of the reader of places.
    """

    def __init__(self, members: int) -> None:
        super().__init__()
        self.level = LevelReader()
        self.places = PlaceReader(members)

    def follow(self, others: Readers) -> None:
        """Know what others know."""
        self.level.load_state_dict(others.level.state_dict())
        self.places.load_state_dict(others.places.state_dict())


class Film(Readers):
    """From what is told of a map to a gain and an offset for each of some channels; and readers of usual maps.

    Parameters
    ----------
    sides : tuple of int
        Channels of each layer that is told.
    members : int
        Of the reader of places.
    """

    surety: Tensor

    def __init__(self, sides: tuple[int, ...], members: int) -> None:
        super().__init__(members)
        self._sides = sides
        self.hidden = nn.Sequential(
            nn.Linear(LENGTH, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU(), nn.Dropout(_DROPPED)
        )
        # Spread of the level, gain of the pattern, and what every layer is told.
        self.films = nn.Linear(_HIDDEN, 2 + 2 * sum(sides))
        nn.init.zeros_(self.films.weight)
        nn.init.zeros_(self.films.bias)
        # What the logarithm of the spread lacks, by what is known of the noise and whether a resolution is told; of
        # stripped maps all of it. Found at last.
        self.register_buffer("surety", torch.zeros(KINDS_OF_NOISE, 2))
        self.surety[STRIPPED_KIND] = math.log(_USUAL_SPREAD)
        self.stripped = Readers(members)

    def readers(self, stripped: bool) -> Readers:
        """Return what reads levels, ``level`` and ``places``: of usual maps, or of stripped ones."""
        return self.stripped if stripped else self

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Take in weights of before filtered noise and stripped maps had a surety, and these their readers."""
        surety = state_dict.get(f"{prefix}surety")
        if surety is not None and len(surety) < KINDS_OF_NOISE:
            state_dict[f"{prefix}surety"] = torch.cat([surety[[0, 1, -1]], surety[-1:] + math.log(_USUAL_SPREAD)])
        for name in [name for name in state_dict if name.startswith((f"{prefix}level.", f"{prefix}places."))]:
            state_dict.setdefault(f"{prefix}stripped.{name.removeprefix(prefix)}", state_dict[name])
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, condition: Tensor) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
        """Return level and spread, (batch, 2, 1, 1, 1); the gain of the pattern; gain and offset of every layer."""
        level, told = condition[:, LENGTH:], whitened(condition[:, :LENGTH])
        if self.training:
            told = told + _ERROR * torch.randn_like(told)
        found = self.films(self.hidden(torch.cat([told, level], 1)))[..., None, None, None]
        spread, gain, *parts = found.split([1, 1, *(side for side in self._sides for _ in range(2))], 1)
        seen = _spread_out(~are_stripped(condition)[:, None]).float()
        spread = seen * (spread + math.log(_USUAL_SPREAD)) + _spread_out(self.surety[kinds_of(condition)][:, None])
        level = torch.cat([_spread_out(level), spread], 1)
        return level, 1 + seen * gain, list(zip(parts[::2], parts[1::2], strict=True))


def _spread_out(values: Tensor) -> Tensor:
    return values[..., None, None, None]


class ConditionedUNet(TwoLevelUNet):
    """Local resolution and its spread from one map and what is known of it as a whole; block-exact.

    Parameters
    ----------
    channels : int
        Channels at half sampling.
    deep_channels : int
        Channels at quarter sampling.
    deep_layers : int
        Residual 3^3 convolutions at quarter sampling; each adds 4 voxels of reach.
    bands : int
        Energies in learnt bands.
    members : int
        Of the reader of places.

    Examples
    --------
    >>> net = ConditionedUNet(channels=8, deep_channels=8, deep_layers=3, bands=4).eval()
    >>> net.multiple, net.receptive_radius
    (4, 28)
    >>> net(torch.zeros(1, 1, 8, 8, 12), condition=torch.zeros(1, LENGTH + 1)).shape
    torch.Size([1, 2, 8, 8, 12])
    """

    conditioned = patterned = True

    def __init__(
        self, channels: int = 16, deep_channels: int = 64, deep_layers: int = 3, bands: int = 16, members: int = 2
    ) -> None:
        super().__init__(channels, deep_channels, deep_layers, bands=bands, outputs=2, others=1)
        self.film = Film((channels, *[deep_channels] * (deep_layers + 1), channels), members)

    @property
    def receptive_radius(self) -> int:
        """Voxels from an output voxel to the farthest input voxel that it can depend on."""
        return 16 + 4 * self.deep_layers

    def forward(
        self,
        density: Tensor,
        margins: Margins = NO_MARGINS,
        condition: Tensor | None = None,
        pattern: Tensor | None = None,
    ) -> Tensor:
        """Predict.

        Parameters
        ----------
        density : (batch, 1, z, y, x) float32
            Normalised; sides divide by 4.
        margins : three of (int, int)
            Voxels, multiples of 4, before and after along z, y, x that are context only.
        condition : (batch, LENGTH + 1) float32
            From :func:`emres.model.condition.condition_of`, and the level of the map.
        pattern : (batch, 1, z, y, x) float32, optional
            From :meth:`emres.volume.levels.Levels.pattern`; 0 where nothing shows.

        Returns
        -------
        (batch, 2, z, y, x) float32
            log(local resolution / voxel size), and the natural logarithm of its spread; without the margins.

        Raises
        ------
        UsageError
            If a side is not a multiple of 4, or there is no condition.
        """
        check_sides(density, self.multiple)
        if condition is None:
            raise UsageError(
                "this net must be told of the whole map", got="no condition", expected=f"{LENGTH + 1} numbers"
            )
        level: Tensor
        with torch.autocast(density.device.type, enabled=False):  # few numbers, on which all hangs
            level, gain, films = self.film(condition.float())
        pattern = torch.zeros_like(density) if pattern is None else pattern
        read = Trim(margins)(pattern, 1, 0)
        level = level.expand(-1, -1, *read.shape[2:]).clone()
        level[:, :1] += gain * read
        stripped = are_stripped(condition)
        if stripped.all() and not self.training:
            return level
        deviation = self._deviation(density, margins, pattern, films).float()
        return level + torch.where(_spread_out(stripped[:, None]), 0.0, deviation)

    def _deviation(
        self, density: Tensor, margins: Margins, pattern: Tensor, films: list[tuple[Tensor, Tensor]]
    ) -> Tensor:
        """Return what is added to the levels that were read, and to the logarithm of the spread."""
        trim, (first, second, *others) = Trim(margins), films
        # In cells of 4 voxels: every deep layer looks one cell further than the next, decoder and encoder half a cell,
        # the energies a cell.
        reach = self.deep_layers + 1
        shown = Trim(margins)(nn.functional.avg_pool3d(pattern, 2), 2, reach + 2)
        features = trim(self.stem(density), 2, reach + 2)
        with torch.autocast(density.device.type, enabled=False):
            energies = torch.log(blurred(self.bands(features).square()) + _ENERGY_FLOOR) / 4
        shallow = trim(self.encode(joined([features, energies, shown]), first), 2, reach)
        deep = self.down(shallow, second)
        for left, layer, film in zip(range(self.deep_layers, 0, -1), self.deep, others, strict=False):
            deep = trim(deep + layer(deep, film), 4, left)
        shallow = Trim(margins, reach)(shallow, 2, 1)
        features = self.decode(joined([shallow, self.up(deep)]), others[-1])
        finer = nn.functional.interpolate(self.head(features), scale_factor=2, mode="trilinear", align_corners=False)
        deviation: Tensor = trim(finer, 1, 0)
        return deviation
