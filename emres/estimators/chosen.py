"""Values of some voxels, taken out of a volume and put back.

On a CPU torch's own ``masked_select`` and ``masked_scatter_`` keep two indices of eight bytes to each voxel, chosen or
not: four volumes.
"""

from __future__ import annotations

import torch


def values_at(chosen: torch.Tensor, volume: torch.Tensor) -> torch.Tensor:
    """Return the values of a volume at some voxels.

    Parameters
    ----------
    chosen : (z, y, x) bool
    volume : (z, y, x)

    Returns
    -------
    (n,) tensor
        In the order of memory.

    Examples
    --------
    >>> values_at(torch.tensor([[[True, False, True]]]), torch.tensor([[[1.0, 2.0, 3.0]]])).tolist()
    [1.0, 3.0]
    """
    if volume.device.type == "cpu":
        return torch.from_numpy(volume.numpy()[chosen.numpy()])
    return volume.masked_select(chosen)


def put_at(chosen: torch.Tensor, volume: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Put values at some voxels of a volume, and return it.

    Parameters
    ----------
    chosen : (z, y, x) bool
    volume : (z, y, x)
        It is written into.
    values : (n,)
        In the order of memory.

    Examples
    --------
    >>> put_at(torch.tensor([[[True, False, True]]]), torch.zeros((1, 1, 3)), torch.tensor([1.0, 3.0])).tolist()
    [[[1.0, 0.0, 3.0]]]
    """
    if volume.device.type == "cpu":
        volume.numpy()[chosen.numpy()] = values.numpy()
        return volume
    return volume.masked_scatter_(chosen, values)


def how_many(chosen: torch.Tensor) -> int:
    """Return how many voxels are chosen; a sum would turn each into eight bytes first.

    Examples
    --------
    >>> how_many(torch.tensor([True, False, True]))
    2
    """
    return int(torch.count_nonzero(chosen))
