"""Dense local FSC: a value at every voxel, from shells filtered once over the whole volume.

For each shell k both half maps are band-passed; the local FSC is a local correlation of the two,

    FSC_k(x) = G*(a_k b_k) / sqrt(G*(a_k^2) G*(b_k^2)),

with G the window. Filtering comes before windowing, so the edge of a window can not correlate the halves (Penczek
2020) and no phase randomisation is needed. A shell costs two inverse transforms and three blurs, whatever the
number of voxels asked for.

G is a Gaussian with a broad skirt: where the voxel's own surroundings hold signal they outweigh the skirt, where
they hold none the skirt ties the value to what lies around, as the wide window of RELION does, instead of leaving
it to chance. The frequency of the crossing is then averaged over one window: neighbouring windows share
their data, and what differs between them on a shorter scale is noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from emres.errors import UsageError
from emres.estimators.estimate import Estimate
from emres.volume.fourier import as_tensor, radial_frequency, shell_weight, voxel_sizes
from emres.volume.grid import Triple

# Standard deviation of a Hann window, in units of its full width.
HANN_SIGMA = math.sqrt(1 / 12 - 1 / (2 * math.pi**2))
# The skirt of the window: times as broad as its core, share of its weight. Both, and the width of the last average
# in units of the core's sigma, are where agreement with RELION and with cctbx is best on simulated half maps
# (tests/estimators/test_agreement.py); 3-5, 0.3-0.5 and 1.2-2 are within 0.01 in Spearman of it.
SKIRT_BREADTH = 4.0
SKIRT_SHARE = 0.3
AVERAGE_BREADTH = 1.6
# Sections that are multiplied at a time.
_SLAB = 16
# Below this FSC in any of the first shells a voxel is noise.
GUARD = 0.6
GUARDED_SHELLS = 2


def dense_fsc(
    half_map_1: Any,
    half_map_2: Any,
    voxel_size: float | Triple,
    *,
    threshold: float = 0.143,
    window: float | None = None,
    resolution: float | None = None,
    device: str = "cpu",
) -> Estimate:
    """Estimate local resolution at every voxel from two half maps.

    Parameters
    ----------
    half_map_1, half_map_2 : (z, y, x) float32
        numpy arrays or torch tensors.
    voxel_size : Å, one or (z, y, x)
    threshold : float
        FSC value whose first crossing, from low frequency, is the resolution.
    window : float, optional
        Å, full width of the Hann window that the Gaussian stands for.
    resolution : float, optional
        Å, global resolution; only used to choose a window when none is given.
    device : str
        Where to compute: ``cpu`` or ``cuda``.

    Returns
    -------
    Estimate
        Resolution in Å between two voxels and the window. Voxels where the halves disagree even in the first
        two shells (FSC below 0.6) hold noise alone: they get the window's width and count as unresolved.

    Raises
    ------
    UsageError
        If the half maps differ in shape, or threshold or window is out of range.
    """
    first, second = paired_halves(half_map_1, half_map_2, device)
    sizes = voxel_sizes(voxel_size)
    coarsest, finest = window or default_window(max(sizes), resolution), 2 * max(sizes)
    _check(threshold, coarsest, finest)
    blur = WindowBlur.of(first, sizes, coarsest)
    crossing = _first_crossing(_local_fsc(first, second, sizes, coarsest, blur), threshold, 1 / finest)
    unresolved = crossing == 0
    frequency = blur.average(crossing)
    local_resolution = (1 / frequency).clamp(finest, coarsest).masked_fill(unresolved, coarsest)
    capped = (local_resolution <= 1.0001 * finest) | (local_resolution >= 0.9999 * coarsest)
    return Estimate(
        resolution=local_resolution.cpu().numpy(),
        method="fsc",
        definition="dense",
        threshold=threshold,
        window=coarsest,
        parameters={"sigma": HANN_SIGMA * coarsest, "skirt_share": SKIRT_SHARE, "shell_width": 1 / coarsest},
        capped_share=float(capped.float().mean()),
        unresolved_share=float(unresolved.float().mean()),
        limits=(finest, coarsest),
    )


def paired_halves(half_map_1: Any, half_map_2: Any, device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Return two half maps as tensors.

    Parameters
    ----------
    half_map_1, half_map_2 : (z, y, x) float32
    device : str

    Returns
    -------
    two (z, y, x) float32 tensors

    Raises
    ------
    UsageError
        If they differ in shape.
    """
    first, second = as_tensor(half_map_1, "half map 1", device), as_tensor(half_map_2, "half map 2", device)
    if first.shape != second.shape:
        raise UsageError(
            "the half maps differ in shape", got=f"{tuple(second.shape)}", expected=f"{tuple(first.shape)}"
        )
    return first, second


def default_window(voxel_size: float, resolution: float | None = None) -> float:
    """Return a window in Å: 30 Å, at least 17 voxels, at least 7 times the global resolution.

    Examples
    --------
    >>> default_window(1.0), default_window(3.0), default_window(1.0, resolution=8.0)
    (30.0, 51.0, 56.0)
    """
    return max(30.0, 17 * voxel_size, 7 * (resolution or 0.0))


def _check(threshold: float, window: float, finest: float) -> None:
    if not 0 < threshold < 1:
        raise UsageError("an FSC threshold is out of range", got=f"{threshold}", expected="between 0 and 1")
    if window < 4 * finest:
        raise UsageError("a window is too narrow", got=f"{window:g} Å", expected=f"at least {4 * finest:g} Å, 8 voxels")


def _local_fsc(
    first: torch.Tensor, second: torch.Tensor, voxel_size: Triple, window: float, blur: WindowBlur
) -> Iterator[tuple[float, torch.Tensor]]:
    """Yield (frequency of the shell's centre, local FSC at every voxel) from low frequency up to Nyquist."""
    frequency = radial_frequency(first.shape, voxel_size, str(first.device))
    spectra = [torch.fft.rfftn(half / half.std().clamp_min(1e-30)) for half in (first, second)]
    for k in range(1, round(window / (2 * max(voxel_size))) + 1):
        weight = shell_weight(frequency, k / window, 1 / window)
        one, two = (torch.fft.irfftn(spectrum * weight, s=first.shape) for spectrum in spectra)
        fsc = blur(one * two)
        one = blur(one.square_())
        two = blur(two.square_())
        fsc.div_(one.mul_(two).clamp_min_(0).sqrt_().clamp_min_(1e-20))
        # Nothing but the curve and the spectra outlives a shell: the memory of a large map is what counts.
        del one, two, weight
        yield k / window, fsc
        del fsc


def _first_crossing(curve: Iterator[tuple[float, torch.Tensor]], threshold: float, highest: float) -> torch.Tensor:
    """Return the frequency where each voxel's curve first falls below the threshold, linear between shells.

    A curve starts at (frequency 0, FSC 1); one that never falls gets ``highest``, one that is noise from the start
    gets 0.
    """
    crossing, before, below = torch.zeros(()), torch.ones(()), 0.0
    for shell, (frequency, fsc) in enumerate(curve):
        if shell == 0:
            crossing, before = torch.full_like(fsc, highest), torch.ones_like(fsc)
        here = (fsc < threshold) & (crossing == highest)
        drop = (before - fsc).clamp_min_(1e-6)
        interpolated = before.sub_(threshold).div_(drop).mul_(frequency - below).add_(below)
        torch.where(here, interpolated, crossing, out=crossing)
        if shell < GUARDED_SHELLS:
            # A handful of Fourier modes correlate by chance: signal must show where there always is some.
            crossing.masked_fill_(fsc < GUARD, 0.0)
        del drop, interpolated
        below, before = frequency, fsc
    return crossing


@dataclass(frozen=True)
class WindowBlur:
    """The window as a convolution, up to a constant factor, zero beyond the faces.

    A Gaussian is one matrix product an axis: fast on CPU and GPU alike. The ratio of two blurs needs no correction
    at the faces.

    Parameters
    ----------
    core, skirt, mean : three (n, n) matrices each, z, y, x
        Core and skirt of the window; the Gaussian of the last average.
    """

    core: list[torch.Tensor]
    skirt: list[torch.Tensor]
    mean: list[torch.Tensor]

    @classmethod
    def of(cls, volume: torch.Tensor, voxel_size: Triple, window: float) -> WindowBlur:
        """Return the blur of a window (Å) for volumes like this one."""
        scales = (1.0, SKIRT_BREADTH, AVERAGE_BREADTH)
        core, skirt, mean = (
            [
                gaussian_matrix(n, scale * HANN_SIGMA * window / size, volume.device)
                for n, size in zip(volume.shape, voxel_size, strict=True)
            ]
            for scale in scales
        )
        return cls(core, skirt, mean)

    def __call__(self, volume: torch.Tensor) -> torch.Tensor:
        """Return the volume averaged over the window."""
        return convolve(volume, self.core).mul_(1 - SKIRT_SHARE).add_(convolve(volume, self.skirt), alpha=SKIRT_SHARE)

    def average(self, frequency: torch.Tensor) -> torch.Tensor:
        """Return the mean of the positive frequencies round every voxel."""
        total = convolve((frequency > 0).float(), self.mean)
        return convolve(frequency, self.mean) / total.clamp_min(1e-6)


def convolve(volume: torch.Tensor, matrices: list[torch.Tensor]) -> torch.Tensor:
    """Multiply a (z, y, x) volume by one symmetric matrix along each axis, part by part: one more volume of memory."""
    z, y, x = matrices
    blurred = torch.empty_like(volume, memory_format=torch.contiguous_format)
    for target, slab in zip(torch.split(blurred, _SLAB), torch.split(volume, _SLAB), strict=True):
        torch.matmul(y, slab @ x, out=target)
    for columns in torch.split(blurred.flatten(1), _SLAB * len(y), dim=1):
        columns.copy_(z @ columns)
    return blurred


def gaussian_matrix(n: int, sigma: float, device: torch.device) -> torch.Tensor:
    """Return the (n, n) matrix of a Gaussian of ``sigma`` voxels, cut at 3 sigma, zero beyond the faces."""
    index = torch.arange(n, device=device, dtype=torch.float32)
    distance = (index[:, None] - index[None, :]).abs()
    reach = torch.arange(-math.ceil(3 * sigma), math.ceil(3 * sigma) + 1, dtype=torch.float32)
    total = float(torch.exp(-0.5 * (reach / sigma) ** 2).sum())
    return torch.where(distance <= 3 * sigma, torch.exp(-0.5 * (distance / sigma) ** 2) / total, 0.0)
