"""What a one-map method can measure: not a constant, not a speck, and of a scale whose squares float32 can hold."""

from __future__ import annotations

import math

import torch

from emres.errors import MapError

# An envelope or a window needs some voxels along each edge.
SHORTEST_EDGE = 4
# Powers of two that the largest value may be away from 1 before a map is scaled.
_SCALE = 20


def measurable(*volumes: torch.Tensor, name: str = "map") -> list[torch.Tensor]:
    """Return volumes that can be measured, or refuse them.

    Parameters
    ----------
    *volumes : (z, y, x) float32
    name : str
        What to call one in an error.

    Returns
    -------
    list of (z, y, x) float32
        The volumes themselves, or scaled by one power of two where their values are very large or very small.

    Raises
    ------
    MapError
        If one holds one value everywhere, or an edge is shorter than four voxels.
    """
    for volume in volumes:
        _check(volume, name)
    power = magnitude(*volumes)
    return [scaled(volume, power) for volume in volumes]


def _check(volume: torch.Tensor, name: str) -> None:
    if min(volume.shape) < SHORTEST_EDGE:
        raise MapError(
            f"{name} is too small to have a local resolution",
            got="x".join(map(str, volume.shape)),
            expected=f"at least {SHORTEST_EDGE} voxels along each edge",
        )
    low, high = volume.aminmax()
    if bool(low == high):
        raise MapError(
            f"{name} holds one value everywhere", got=f"{float(low):g}", cure="check that it is the right file"
        )


def magnitude(*volumes: torch.Tensor) -> int:
    """Return the power of two next above the largest absolute value.

    Examples
    --------
    >>> magnitude(torch.tensor([1.0, -5.0]))
    3
    """
    return max(math.frexp(float(value))[1] for volume in volumes for value in volume.aminmax())


def scaled(volume: torch.Tensor, power: int) -> torch.Tensor:
    """Return a volume divided by a power of two; itself where that is near enough to 1 to be of no matter.

    Examples
    --------
    >>> [float(value) for value in scaled(torch.tensor([2.0**40, 3 * 2.0**40]), 42)]
    [0.25, 0.75]
    """
    if abs(power) <= _SCALE:
        return volume
    # In two steps: a power of two beyond float32 is no factor.
    half = power // 2
    return (volume * 2.0**-half).mul_(2.0 ** (half - power))
