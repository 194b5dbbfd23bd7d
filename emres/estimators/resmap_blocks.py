"""ResMap's two measurements of a volume, a block at a time: how much the waves gain, and how strong the noise is.

Nothing here is as large as the volume but what goes in and what comes out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from emres.errors import UsageError
from emres.estimators.chosen import values_at
from emres.estimators.resmap_kernels import LocalModel

# Side of the blocks that are transformed, voxels: what a cache holds, and at least four windows.
_BLOCK, _WINDOWS_A_BLOCK = 64, 4
_WINDOWS_AT_LEAST = 8
# Filters whose transforms are held at a time; with a few, a block is transformed more often than once.
_FILTERS_AT_ONCE = 4


def gain_over_constant(density: torch.Tensor, model: LocalModel, chosen: torch.Tensor) -> torch.Tensor:
    """Return y' D y of the windows round some voxels; the volume goes on periodically beyond its faces.

    Parameters
    ----------
    density : (z, y, x) float32
    model : LocalModel
    chosen : (z, y, x) bool

    Returns
    -------
    (n,) float32
        In the order of memory.
    """
    total = torch.zeros_like(density)
    block = max(_BLOCK, 1 << (_WINDOWS_A_BLOCK * model.side - 1).bit_length())
    sides = [min(block, n + model.side - 1) for n in density.shape]
    kernels = torch.from_numpy(model.filters).float().to(density.device)
    cores = list(_cores(density.shape, [side - model.side + 1 for side in sides]))
    wanted = [core for core in cores if bool(chosen[core].any())]
    for some in torch.split(kernels, _FILTERS_AT_ONCE):
        transfers = torch.fft.rfftn(some, s=sides, dim=(1, 2, 3)).conj_physical_()
        for core in wanted:
            spectrum = torch.fft.rfftn(_with_margin(density, core, model.radius, sides))
            here = total[core]
            within = tuple(slice(0, n) for n in here.shape)
            for transfer in transfers:
                here += torch.fft.irfftn(transfer * spectrum, s=sides)[within].square()
    return values_at(chosen, total)


def noise_variance(density: torch.Tensor, regions: Sequence[torch.Tensor], model: LocalModel) -> float:
    """Return the variance of the noise, from all windows of a regular tiling that hold noise alone.

    Parameters
    ----------
    density : (z, y, x) float32
    regions : sequence of (z, y, x) bool
        Where noise is; the first that has room for enough windows is taken.
    model : LocalModel

    Raises
    ------
    UsageError
        If none has.
    """
    for region in regions:
        count, total = 0, 0.0
        for windows in _windows(density, region, model.side):
            count, total = count + len(windows), total + float(model.residuals(windows).sum())
        if count >= _WINDOWS_AT_LEAST:
            return total / count
    raise UsageError(
        "too little solvent to take the noise from",
        got=f"{count} windows of {model.side}^3 voxels",
        expected=f"at least {_WINDOWS_AT_LEAST}",
        cure="pass a smaller mask or a coarsest level",
    )


def _windows(density: torch.Tensor, region: torch.Tensor, side: int) -> Iterator[np.ndarray]:
    """Give the windows of one layer of the tiling after the other, (n, side^3) float64."""
    for start in range(0, density.shape[0] - side + 1, side):
        layer = slice(start, start + side)
        windows = _tiled(density[layer], side)[_tiled(region[layer], side).all(1)]
        yield np.asarray(windows.double().cpu().numpy())


def _tiled(layer: torch.Tensor, side: int) -> torch.Tensor:
    y, x = (n // side for n in layer.shape[1:])
    whole = layer[:, : y * side, : x * side].reshape(side, y, side, x, side)
    return whole.permute(1, 3, 0, 2, 4).reshape(y * x, side**3)


def _cores(shape: Sequence[int], steps: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    spans = ([slice(i, min(i + step, n)) for i in range(0, n, step)] for n, step in zip(shape, steps, strict=True))
    yield from itertools.product(*spans)


def _with_margin(density: torch.Tensor, core: Sequence[slice], margin: int, sides: Sequence[int]) -> torch.Tensor:
    """Return a block from a margin before its core on."""
    z, y, x = (
        torch.arange(span.start - margin, span.start - margin + side, device=density.device) % n
        for span, side, n in zip(core, sides, density.shape, strict=True)
    )
    return density[z[:, None, None], y[:, None], x]
