"""Dense local FSC: a value at every voxel, from shells filtered once over the whole volume.

For each shell k both half maps are band-passed; the local FSC is a local correlation of the two,

    FSC_k(x) = G*(a_k b_k) / sqrt(G*(a_k^2) G*(b_k^2)),

with G a Gaussian. Filtering comes before windowing, so a window's edge can not correlate the halves (Penczek 2020),
and no phase randomisation is needed. A shell costs two inverse transforms and three blurs, whatever the number of
voxels asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from emres.errors import UsageError
from emres.estimators.estimate import Estimate
from emres.volume.fourier import as_tensor, radial_frequency, shell_weight, voxel_sizes
from emres.volume.grid import Triple

# Standard deviation of a Hann window, in units of its full width.
HANN_SIGMA = math.sqrt(1 / 12 - 1 / (2 * math.pi**2))

# Below this FSC in any of the first shells a voxel is noise.
GUARD = 0.75
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
        Resolution in Å between two voxels and the window. Voxels where the halves disagree even in the first two
        shells (FSC below 0.75) hold noise alone: they get the window's width and count as unresolved.

    Raises
    ------
    UsageError
        If the half maps differ in shape or the threshold is not between 0 and 1.
    """
    first, second = as_tensor(half_map_1, "half map 1", device), as_tensor(half_map_2, "half map 2", device)
    if first.shape != second.shape:
        raise UsageError("the half maps differ in shape", got=f"{tuple(second.shape)}", expected=f"{tuple(first.shape)}")
    if not 0 < threshold < 1:
        raise UsageError("an FSC threshold is out of range", got=f"{threshold}", expected="between 0 and 1")
    sizes = voxel_sizes(voxel_size)
    if window is not None and window < 4 * max(sizes):
        raise UsageError("a window is too narrow", got=f"{window} Å", expected=f"at least {4 * max(sizes):g} Å, 4 voxels")
    coarsest = window or default_window(max(sizes), resolution)
    finest = 2 * max(sizes)
    frequency = _first_crossing(_local_fsc(first, second, sizes, coarsest), threshold, 1 / finest)
    unresolved = frequency == 0
    capped = (frequency <= 1 / coarsest) | (frequency >= 1 / finest)
    return Estimate(
        resolution=(1 / frequency.clamp(1 / coarsest, 1 / finest)).cpu().numpy(),
        method="fsc", definition="dense", threshold=threshold, window=coarsest,
        parameters={"sigma": HANN_SIGMA * coarsest, "shell_width": 1 / coarsest},
        capped_share=float(capped.float().mean()), unresolved_share=float(unresolved.float().mean()),
    )


def default_window(voxel_size: float, resolution: float | None = None) -> float:
    """Return a window in Å: 36 Å, at least 17 voxels, at least 7 times the global resolution.

    Examples
    --------
    >>> default_window(1.0), default_window(3.0), default_window(1.0, resolution=8.0)
    (36.0, 51.0, 56.0)
    """
    return max(36.0, 17 * voxel_size, 7 * (resolution or 0.0))


def _local_fsc(
    first: torch.Tensor, second: torch.Tensor, voxel_size: Triple, window: float
) -> Iterator[tuple[float, torch.Tensor]]:
    """Yield (frequency of the shell's centre, local FSC at every voxel) from low frequency up to Nyquist."""
    shape = tuple(first.shape)
    frequency = radial_frequency(shape, voxel_size, str(first.device))
    spectra = [torch.fft.rfftn(half / half.std().clamp_min(1e-30)) for half in (first, second)]
    blur = GaussianBlur(shape, tuple(HANN_SIGMA * window / size for size in voxel_size), first.device)
    for k in range(1, round(window / (2 * max(voxel_size))) + 1):
        weight = shell_weight(frequency, k / window, 1 / window)
        one, two = (torch.fft.irfftn(spectrum * weight, s=shape) for spectrum in spectra)
        cross = blur(one * two)
        power = blur(one.square_()).mul_(blur(two.square_())).clamp_min_(0).sqrt_()
        yield k / window, torch.where(power > 1e-20, cross / power.clamp_min(1e-20), 0.0)


def _first_crossing(
    curve: Iterator[tuple[float, torch.Tensor]], threshold: float, highest: float
) -> torch.Tensor:
    """Return the frequency where each voxel's curve first falls below the threshold, linear between shells.

    A curve starts at (frequency 0, FSC 1); one that never falls gets ``highest``, one that is noise from the start 0.
    """
    crossing, before, below = torch.zeros(()), torch.ones(()), 0.0
    for shell, (frequency, fsc) in enumerate(curve):
        if shell == 0:
            crossing = torch.full_like(fsc, highest)
        share = (before - threshold) / (before - fsc).clamp_min(1e-6)
        here = (fsc < threshold) & (crossing == highest)
        crossing = torch.where(here, below + share * (frequency - below), crossing)
        if shell < GUARDED_SHELLS:
            # A handful of Fourier modes correlate by chance: signal must show in the shells that always hold it.
            crossing = crossing.masked_fill(fsc < GUARD, 0.0)
        below, before = frequency, fsc
    return crossing


class GaussianBlur:
    """Separable Gaussian blur of a volume, cut at 3 sigma, zero beyond the faces.

    Each axis is one matrix product: fast on CPU and GPU alike, and a ratio of two blurs needs no correction at the
    faces.

    Parameters
    ----------
    shape : (z, y, x) voxels
    sigma : (z, y, x) voxels
    device : torch.device
    """

    def __init__(self, shape: tuple[int, ...], sigma: tuple[float, ...], device: torch.device) -> None:
        self._matrices = [_blur_matrix(n, s, device) for n, s in zip(shape, sigma, strict=True)]

    def __call__(self, volume: torch.Tensor) -> torch.Tensor:
        """Return the blurred volume."""
        z, y, x = self._matrices
        volume = torch.matmul(y, volume @ x)
        return (z @ volume.flatten(1)).reshape(volume.shape)


def _blur_matrix(n: int, sigma: float, device: torch.device) -> torch.Tensor:
    index = torch.arange(n, device=device, dtype=torch.float32)
    distance = (index[:, None] - index[None, :]).abs()
    reach = torch.arange(-math.ceil(3 * sigma), math.ceil(3 * sigma) + 1, device=device, dtype=torch.float32)
    total = torch.exp(-0.5 * (reach / sigma) ** 2).sum()
    return torch.where(distance <= 3 * sigma, torch.exp(-0.5 * (distance / sigma) ** 2), 0.0) / total
