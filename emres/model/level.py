"""How fine a map is as a whole, read off what is known of it: where, on the axis of frequency, its signal ends.

::

    condition --> curves over 44 frequencies, evenly spaced in their logarithm:
                  spectrum and its slope, its ratio to the noise, how the power differs from place to place, ...
              --> three convolutions along the axis --> a weight for every frequency --> its weighted mean

What marks the end of the signal looks alike wherever it lies, so every map teaches every frequency. That is what makes
the few hundred maps of a data set enough; several readers that learnt the same, each from its own start, are averaged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emres.model.condition import CONTRAST, KNOWN, SHOWN, TOLD, level_at
from emres.volume.contrast import NUMBERS, PARTS, SHELLS, WIDTH
from emres.volume.place_curves import FREQUENCIES, LOGS, onto_axis
from emres.volume.spectrum import NYQUIST, RESOLVED
from emres.volume.window_power import frequencies

Array = np.ndarray[Any, Any]

_MARK = 0.12  # how broad a level is marked on the axis
_RATIO = (-0.5, 2.0)  # of logarithms of power, as the condition has them: what lies beyond tells nothing more
_NOISE = 0.05  # of curves, in training
_DROPPED = 0.2  # share of curves' features, in training
_SHARP = 3.0
_BESIDE = 0.3  # how far the answer may lie from the mean, about
_MEMBERS, _CHANNELS = 5, 32
KERNEL = 5


def _onto_axis(given: Array) -> Tensor:
    return torch.from_numpy(onto_axis(given).astype(np.float32))


def _differences() -> Tensor:
    """Return what takes a curve to its slope, by the logarithm of frequency."""
    slope: Any = np.gradient(np.eye(FREQUENCIES), LOGS, axis=1)
    return torch.from_numpy(slope.astype(np.float32))


class Curves(nn.Module):
    """A condition as curves over the axis: (batch, LENGTH) -> (batch, ``Curves.COUNT``, 44)."""

    EXACT = 8  # curves that are flags or places, and have no error
    COUNT = EXACT + 10 + len(PARTS)

    spectrum: Tensor
    contrast: Tensor
    slope: Tensor
    places: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, value in (
            ("spectrum", _onto_axis(RESOLVED)),
            ("contrast", _onto_axis(frequencies(WIDTH))),
            ("slope", _differences()),
            ("places", torch.from_numpy(LOGS.astype(np.float32))),
        ):
            self.register_buffer(name, value, persistent=False)

    def forward(self, condition: Tensor) -> Tensor:
        """Return the curves; those without an error come first."""
        inside, noise = condition[:, :NYQUIST] @ self.spectrum, condition[:, NYQUIST:KNOWN] @ self.spectrum
        known, size, sampling = (self._flat(condition[:, k]) for k in range(KNOWN, KNOWN + 3))
        numbers = condition[:, CONTRAST : CONTRAST + NUMBERS]
        contrast = numbers[:, : len(PARTS) * SHELLS].reshape(-1, len(PARTS), SHELLS) @ self.contrast
        cells, there = self._flat(numbers[:, -1]), self._flat(condition[:, CONTRAST + NUMBERS])
        place = (self.places + 1.5).expand_as(inside)
        told = self._marked(condition, TOLD)
        shown = self._marked(condition, SHOWN, known)
        exact = [torch.ones_like(place), place, known, there, *told, size]
        inexact = [
            inside - inside.mean(1, keepdim=True),
            (inside - inside.amax(1, keepdim=True)) / 2,
            torch.tanh(inside @ self.slope / 2),
            known * (inside - noise).clamp(*_RATIO) * 4 / 3,
            torch.tanh(noise @ self.slope / 2),
            *shown,
            sampling,
            cells,
        ]
        return torch.cat([torch.stack([*exact, *inexact], 1), contrast], 1)

    def _flat(self, values: Tensor) -> Tensor:
        return values[:, None].expand(-1, FREQUENCIES)

    def _marked(self, condition: Tensor, place: int, known: Tensor | None = None) -> list[Tensor]:
        """Return where on the axis a level lies, how far from it each place is, and whether it is there."""
        level, there = level_at(condition, place)
        there = there.expand(-1, FREQUENCIES) if known is None else there * known
        away = -self.places - level
        return [there * torch.exp(-0.5 * (away / _MARK).square()), there * torch.tanh(away), there]


def along(layer: nn.Module, features: Tensor) -> Tensor:
    """Return what a ``Conv1d`` makes of features, (n, 44, channels): :func:`convolved`."""
    assert isinstance(layer, nn.Conv1d)
    return convolved(features, layer.weight, layer.bias, layer.dilation[0])


def convolved(features: Tensor, weight: Tensor, bias: Tensor | None = None, dilation: int = 1) -> Tensor:
    """Return a convolution along the axis, which keeps its length: (n, 44, channels).

    Channels lie last, and it is one in two dimensions: on a processor that takes 40 % of the time of ``conv1d``.
    """
    flat = features.mT.unsqueeze(2)
    given = weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
    padding = (0, weight.shape[-1] // 2 * dilation)
    return nn.functional.conv2d(flat, given, bias, padding=padding, dilation=(1, dilation)).squeeze(2).mT


class CurveReader(nn.Module):
    """Curves, (batch, count, 44) -> a level: convolutions along the axis, and a soft choice of a place on it.

    Parameters
    ----------
    count : int
        Curves.
    channels : int
    dropped : float
        Share of features, in training.
    """

    def __init__(self, count: int, channels: int, dropped: float = _DROPPED) -> None:
        super().__init__()
        half = KERNEL // 2
        self.first = nn.Conv1d(count, channels, KERNEL, padding=half)
        self.further = nn.ModuleList(
            nn.Conv1d(channels, channels, KERNEL, padding=half * apart, dilation=apart) for apart in (2, 4)
        )
        self.last = nn.Conv1d(channels, 2, 1)
        self.drop = nn.Dropout1d(dropped)

    def forward(self, curves: Tensor, places: Tensor) -> Tensor:
        """Return the levels, (batch,), of curves, (batch, curves, 44), on an axis of places, (44,)."""
        features = self.dropped(self.begun(curves))
        for layer in self.further:
            features = features + torch.relu(along(layer, features))
        return self.level(features, places)

    def begun(self, curves: Tensor, further: Tensor | None = None) -> Tensor:
        """Return the features of the first layer, (batch, 44, channels).

        With ``further`` curves, (batch, n, others, 44), that n readings have beside those they share: (batch * n, ...).
        """
        shared = curves.shape[1]
        # What readings share is convolved once.
        begun = convolved(curves.mT.contiguous(), self.first.weight[:, :shared], self.first.bias)
        if further is not None:
            own = convolved(further.flatten(0, 1).mT.contiguous(), self.first.weight[:, shared:])
            begun = (own.view(*further.shape[:2], *own.shape[1:]) + begun[:, None]).flatten(0, 1)
        return torch.relu(begun)

    def dropped(self, features: Tensor) -> Tensor:
        """Return features, (n, 44, channels), of which some are missing, in training."""
        dropped: Tensor = self.drop(features.mT)
        return dropped.mT

    def level(self, features: Tensor, places: Tensor) -> Tensor:
        """Return the level that features, (n, 44, channels), speak for: (n,)."""
        scores, beside = nn.functional.linear(self.dropped(features), self.last.weight[..., 0], self.last.bias).unbind(
            2
        )
        weights = torch.softmax(_SHARP * scores, 1)
        level: Tensor = (weights * (_BESIDE * beside - places)).sum(1)
        return level


class LevelReader(nn.Module):
    """The level of a map, log(resolution / voxel size), from its condition: the mean of several readers.

    Examples
    --------
    >>> from emres.model.condition import LENGTH
    >>> LevelReader()(torch.zeros(2, LENGTH)).shape
    torch.Size([2])
    """

    def __init__(self) -> None:
        super().__init__()
        self.curves = Curves()
        self.members = nn.ModuleList(CurveReader(Curves.COUNT, _CHANNELS) for _ in range(_MEMBERS))
        self.requires_grad_(False)  # it learns apart from the net that it is a part of

    def forward(self, condition: Tensor) -> Tensor:
        """Return the level, (batch,), from conditions, (batch, LENGTH)."""
        return self.each(condition).mean(0)

    def each(self, condition: Tensor) -> Tensor:
        """Return what every member reads, (members, batch); in training every one meets errors of its own."""
        curves = self.curves(condition)
        given = (varied(curves, Curves.EXACT) if self.training else curves for _ in self.members)
        return torch.stack([member(one, self.curves.places) for member, one in zip(self.members, given, strict=True)])


def varied(curves: Tensor, exact: int = 0) -> Tensor:
    """Return curves with errors, for training; the first ``exact`` curves have none."""
    errors = torch.randn_like(curves) + torch.randn_like(curves[..., :1])
    errors[:, :exact] = 0
    return curves + _NOISE * errors
