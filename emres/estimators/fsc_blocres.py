"""Local FSC as blocres (Bsoft) defines it: a tapered cube round every step-th voxel.

The definition, found by measuring the program: cubes of ``box_size`` voxels, centre at index ``box_size // 2``, are
computed where the mask is above 0.5, the index divides by ``step`` and the cube lies inside the volume; the mean
of the whole map is taken off, a Hann window (zero at the outermost voxels) applied, and the cube padded to twice
its side; every stored coefficient of the half-complex transform counts once, shared linearly between its two
shells; the resolution is where the FSC *last* crosses the threshold downwards, linear in frequency, or the last
shell where it never does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from emres.errors import UsageError
from emres.estimators.estimate import Estimate
from emres.estimators.fsc import fsc_halves
from emres.volume.fourier import as_tensor, radial_frequency, voxel_sizes
from emres.volume.grid import Triple

PADDING = 2
COARSEST = 200.0
# Coefficients held at a time: some tens of megabytes, whatever the box; more are no faster.
_BATCH_COEFFICIENTS = 1_000_000


def blocres_fsc(
    half_map_1: Any,
    half_map_2: Any,
    voxel_size: float | Triple,
    *,
    mask: Any = None,
    threshold: float = 0.143,
    box_size: int = 20,
    step: int = 1,
    finest: float | None = None,
    device: str = "cpu",
) -> Estimate:
    """Estimate local resolution as ``blocres`` does.

    Parameters
    ----------
    half_map_1, half_map_2 : (z, y, x) float32
    voxel_size : Å, one or (z, y, x)
        blocres counts shells in voxels; of three sizes the mean is taken.
    mask : (z, y, x), optional
        Computed where above 0.5; everywhere without one.
    threshold : float
    box_size : int
        Side of the cubes, voxels, even; 5 to 7 times the resolution is advised.
    step : int
        Compute every step-th voxel along each axis.
    finest : float, optional
        Å, limit of the answer; two voxels without one.
    device : str

    Returns
    -------
    Estimate
        Resolution in Å, 0 where not computed.

    Raises
    ------
    UsageError
        If shapes differ, the box is odd or too small, or nothing is left to compute.
    MapError
        If a half map is constant or holds NaN.
    """
    first, second = fsc_halves(half_map_1, half_map_2, device)
    if box_size % 2 or not 8 <= box_size <= min(first.shape):
        raise UsageError(
            "a box does not fit", got=f"box_size {box_size}", expected=f"an even number, 8 to {min(first.shape)}"
        )
    voxel = sum(voxel_sizes(voxel_size)) / 3
    inside = torch.ones_like(first) if mask is None else as_tensor(mask, "mask", device)
    centres = _centres(inside, box_size, step)
    if not len(centres):
        raise UsageError(
            "no voxel to compute",
            got=f"box_size {box_size}, step {step}",
            expected="one in the mask, half a box from the faces",
            cure="take a smaller box or step",
        )
    limit = finest or 2 * voxel
    boxes = _TaperedBoxes([half - half.mean() for half in (first, second)], box_size)
    batch = max(1, _BATCH_COEFFICIENTS // (PADDING * box_size) ** 3)
    index = torch.empty(len(centres), device=first.device)
    # Into its place at once: small answers kept between large arrays that go leave gaps that nothing fills.
    for part, place in zip(torch.split(centres, batch), torch.split(index, batch), strict=True):
        place.copy_(_last_crossing(boxes.fsc(part), threshold))
    found = (PADDING * box_size * voxel / index).clamp(limit, COARSEST)
    local_resolution = torch.zeros_like(first)
    local_resolution[tuple(centres.T)] = found
    capped = (found <= 1.0001 * limit) | (found >= 0.9999 * COARSEST)
    return Estimate(
        resolution=np.asarray(local_resolution.cpu().numpy()),
        method="fsc",
        definition="blocres",
        threshold=threshold,
        window=box_size * voxel,
        parameters={"box_size": box_size, "step": step, "finest": limit, "points": len(centres)},
        capped_share=float(capped.float().mean()),
        unresolved_share=float((found >= COARSEST).float().mean()),
    )


def _centres(mask: torch.Tensor, box_size: int, step: int) -> torch.Tensor:
    """Return the (n, 3) indices of the voxels to compute."""
    half = box_size // 2
    chosen = torch.zeros_like(mask, dtype=torch.bool)
    first = -(-half // step) * step
    z, y, x = (slice(first, n - half + 1, step) for n in mask.shape)
    chosen[z, y, x] = mask[z, y, x] > 0.5
    return torch.nonzero(chosen)


class _TaperedBoxes:
    """FSC curves of tapered, padded cubes cut from two volumes."""

    def __init__(self, halves: list[torch.Tensor], box_size: int) -> None:
        self.halves, self.side = halves, box_size
        device = halves[0].device
        hann = torch.hann_window(box_size, periodic=False, device=device)
        self.taper = hann[:, None, None] * hann[None, :, None] * hann[None, None, :]
        padded = PADDING * box_size
        shell = radial_frequency((padded,) * 3, 1 / padded, str(device)).flatten()
        self.shells = padded // 2 + 1
        self.lower = shell.floor().long().clamp_max(self.shells)
        self.share = shell - shell.floor()

    def fsc(self, centres: torch.Tensor) -> torch.Tensor:
        """Return (n, shells) curves for (n, 3) centres."""
        one, two = (self._spectra(half, centres) for half in self.halves)
        cross, first, second = (self._sums(a, b) for a, b in ((one, two), (one, one), (two, two)))
        return cross / (first * second).sqrt().clamp_min(1e-30)

    def _spectra(self, volume: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
        reach, size = torch.arange(self.side, device=volume.device) - self.side // 2, PADDING * self.side
        z, y, x = (centres[:, axis, None] + reach for axis in range(3))
        cubes = volume[z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]] * self.taper
        spectra: torch.Tensor = torch.fft.rfftn(cubes, s=(size, size, size), dim=(1, 2, 3)).flatten(1)
        return spectra

    def _sums(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        values = a.real * b.real + a.imag * b.imag
        sums = torch.zeros((len(values), self.shells + 2), device=values.device)
        upper = values * self.share
        sums.index_add_(1, self.lower, values - upper).index_add_(1, self.lower + 1, upper)
        return sums[:, : self.shells]


def _last_crossing(curves: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return where curves (n, shells) last fall below the threshold, in shells; the last shell where never."""
    above, below = curves[:, :-1], curves[:, 1:]
    falls = (above >= threshold) & (below < threshold)
    shells = torch.arange(falls.shape[1], device=curves.device)
    last = torch.where(falls, shells, -1).amax(1)
    at = last.clamp_min(0)[:, None]
    before, after = above.gather(1, at)[:, 0], below.gather(1, at)[:, 0]
    crossing = last + (before - threshold) / (before - after).clamp_min(1e-9)
    return torch.where(last >= 0, crossing, float(falls.shape[1])).clamp_min(1e-3)
