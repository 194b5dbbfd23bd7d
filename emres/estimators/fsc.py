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
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from emres.errors import MapError, UsageError
from emres.estimators.chosen import how_many
from emres.estimators.estimate import Estimate
from emres.estimators.side_by_side import Each, side_by_side
from emres.estimators.slab_transform import half_complex, unset
from emres.estimators.window_blur import SECTIONS, WindowBlur
from emres.volume.fourier import as_tensor, voxel_sizes
from emres.volume.grid import Triple
from emres.volume.local_window import HANN_SIGMA, SKIRT_SHARE, default_window

# Shells are Gaussians, the best compromise between a sharp shell and a short reach in space: their sigma, and their
# distance, in units of 1 / window. At half a shell's width a crossing is found where it is, not at the next shell.
SHELL_SIGMA = 0.4
SHELL_STEP = 0.5
_SHELL_REACH = 3.5
# Below this FSC in any of the first shells a voxel is noise.
GUARD = 0.6
# Maps whose largest value is 2 to the power of more than this are rescaled.
_SAFE_EXPONENT = 30
# In units of 1 / window.
GUARDED_UP_TO = 2.0

# Frequency of a shell, and what gives the local FSC there from some section on: only where curves cross is kept whole.
Values = Callable[[int], torch.Tensor]
Curve = Iterator[tuple[float, Values]]


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
    MapError
        If a half map is constant or holds NaN.
    """
    first, second = fsc_halves(half_map_1, half_map_2, device)
    sizes = voxel_sizes(voxel_size)
    coarsest, finest = window or default_window(max(sizes), resolution), 2 * max(sizes)
    _check(threshold, coarsest, finest)
    edge = max(n * size for n, size in zip(first.shape, sizes, strict=True))
    if window and window > edge:
        raise UsageError("a window is wider than the box", got=f"{window:g} Å", expected=f"at most {edge:g} Å")
    with side_by_side(first.device) as each:
        blur = WindowBlur.of(first, sizes, coarsest)
        curve = _local_fsc(first, second, sizes, coarsest, blur, each)
        crossing = _first_crossing(curve, first, threshold, 1 / finest, GUARDED_UP_TO / coarsest * 1.0001, each)
        unresolved = crossing == 0
        frequency = blur.average(crossing, each)
    local_resolution = frequency.reciprocal_().clamp_(finest, coarsest).masked_fill_(unresolved, coarsest)
    capped = (local_resolution <= 1.0001 * finest) | (local_resolution >= 0.9999 * coarsest)
    return Estimate(
        resolution=local_resolution.cpu().numpy(),
        method="fsc",
        definition="dense",
        threshold=threshold,
        window=coarsest,
        parameters={"sigma": HANN_SIGMA * coarsest, "skirt_share": SKIRT_SHARE, "shell_width": 1 / coarsest},
        capped_share=how_many(capped) / capped.numel(),
        unresolved_share=how_many(unresolved) / capped.numel(),
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


def fsc_halves(half_map_1: Any, half_map_2: Any, device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Return two half maps whose squares stay within float32; an FSC does not know their scale.

    Parameters
    ----------
    half_map_1, half_map_2 : (z, y, x) float32
    device : str

    Raises
    ------
    UsageError
        If they differ in shape.
    MapError
        If one is constant.
    """
    first, second = paired_halves(half_map_1, half_map_2, device)
    return _in_range(first, "half map 1"), _in_range(second, "half map 2")


def _in_range(half: torch.Tensor, name: str) -> torch.Tensor:
    low, high = (float(value) for value in torch.aminmax(half))
    if low == high:
        raise MapError(f"{name} is constant", got=f"{low:g} everywhere", expected="a density")
    # By a power of two, which rounds nothing.
    exponent = math.frexp(max(-low, high))[1]
    return half if abs(exponent) < _SAFE_EXPONENT else torch.ldexp(half, torch.tensor(-exponent))


def _check(threshold: float, window: float, finest: float) -> None:
    if not 0 < threshold < 1:
        raise UsageError("an FSC threshold is out of range", got=f"{threshold}", expected="between 0 and 1")
    if window < 4 * finest:
        raise UsageError("a window is too narrow", got=f"{window:g} Å", expected=f"at least {4 * finest:g} Å, 8 voxels")


def _local_fsc(
    first: torch.Tensor, second: torch.Tensor, voxel_size: Triple, window: float, blur: WindowBlur, each: Each
) -> Curve:
    """Yield (frequency of the shell's centre, local FSC at every voxel) from low frequency up to Nyquist."""
    spectra = _whitened(first, second, voxel_size, each)
    shape, step = first.shape, SHELL_STEP / window
    # The transforms back along z; a shell needs no more columns along x than it reaches.
    passed, room = [torch.empty_like(spectrum) for spectrum in spectra], blur.room()
    z, y, x = _axes(shape, voxel_size, first.device)
    for k in range(round(1 / SHELL_STEP), round(1 / (2 * max(voxel_size) * step)) + 1):
        columns = math.ceil((k * step + _SHELL_REACH * SHELL_SIGMA / window) * shape[2] * voxel_size[2]) + 1
        near = x[:columns]

        def band_pass(start: int, near: torch.Tensor = near, centre: float = k * step) -> None:
            part = (slice(None), slice(start, start + SECTIONS), slice(len(near)))
            weight = _shell(_radius(z, y[part[1]], near), centre, window)
            for spectrum, target in zip(spectra, passed, strict=True):
                target[part] = torch.fft.ifft(spectrum[part] * weight, dim=0)

        def gather(start: int, near: torch.Tensor = near) -> None:
            parts = (target[start : start + SECTIONS, :, : len(near)] for target in passed)
            one, two = (torch.fft.irfft(torch.fft.ifft(part, dim=1), n=shape[2], dim=2) for part in parts)
            blur.gather(one, two, room[:, start : start + SECTIONS])

        list(each(band_pass, range(0, shape[1], SECTIONS)))
        list(each(gather, range(0, shape[0], SECTIONS)))
        yield k * step, partial(blur.correlation, blur.windowed(room))


def _shell(radius: torch.Tensor, centre: float, window: float) -> torch.Tensor:
    """Return the amplitude weight of a shell; the frequencies are used up."""
    offset = radius.sub_(centre).mul_(window / SHELL_SIGMA)
    weight: torch.Tensor = offset.square_().mul_(-0.5).exp_()
    return weight.masked_fill_(weight < math.exp(-0.5 * _SHELL_REACH**2), 0.0)


def _whitened(first: torch.Tensor, second: torch.Tensor, voxel_size: Triple, each: Each) -> list[torch.Tensor]:
    """Return the halves' transforms, with the same mean power at every frequency.

    An FSC does not change with a radial filter on both halves, but within a shell the stronger coefficients would
    speak for the weaker: where signal ends, the last of it would pass for some beyond.
    """
    halves = (first, second)
    spectra = [unset((*half.shape[:2], half.shape[2] // 2 + 1), np.complex64, half.device) for half in halves]

    def transform(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
        half, spectrum = pair
        half_complex(half, 1 / max(float(half.std()), 1e-30), out=spectrum)

    list(each(transform, zip(halves, spectra, strict=True)))
    width = 1 / max(n * size for n, size in zip(first.shape, voxel_size, strict=True))
    z, y, x = _axes(first.shape, voxel_size, first.device)
    # All but the planes x = 0 and Nyquist stand for their mirror image, too; without it a turned map would differ.
    twice = torch.full_like(x, 2.0)
    twice[[0] if first.shape[2] % 2 else [0, -1]] = 1.0
    length = round(math.hypot(*(float(axis.abs().max()) for axis in (z, y, x))) / width) + 2
    power, count = torch.zeros((2, length), dtype=torch.float64, device=first.device)
    # Slab by slab: neither indices nor powers are ever whole.
    slabs = list(zip(*(torch.split(whole, SECTIONS) for whole in (z, *spectra)), strict=True))
    for rows, *parts in slabs:
        shell = _radius(rows, y, x).div_(width).round_().int().flatten()
        count.index_add_(0, shell, twice.double().expand(len(rows), len(y), -1).flatten())
        for part in parts:
            squared = torch.view_as_real(part).square().sum(-1).mul_(twice).double()
            power.index_add_(0, shell, squared.flatten())
    power /= count.clamp_min_(1.0)
    amplitude = power.clamp_min_(1e-12 * float(power.max())).rsqrt_().float()
    amplitude[0] = 0.0  # the mean
    for rows, *parts in slabs:
        weight = amplitude[_radius(rows, y, x).div_(width).round_().int()]
        for part in parts:
            part *= weight
    return spectra


def _axes(shape: Sequence[int], voxel_size: Triple, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Return the frequencies of a half-complex transform along z, y and x, 1/Å."""
    (nz, ny, nx), (dz, dy, dx) = shape, voxel_size
    z, y = torch.fft.fftfreq(nz, dz, device=device), torch.fft.fftfreq(ny, dy, device=device)
    return z, y, torch.fft.rfftfreq(nx, dx, device=device)


def _radius(z: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    squared: torch.Tensor = (z * z)[:, None, None] + (y * y)[:, None] + x * x
    return squared.sqrt_()


def _first_crossing(
    curve: Curve, like: torch.Tensor, threshold: float, highest: float, guarded: float, each: Each
) -> torch.Tensor:
    """Return the frequency where each voxel's curve first falls below the threshold, linear between shells.

    A curve starts at (frequency 0, FSC 1); one that never falls gets ``highest``, one that is noise from the start
    gets 0: it is below the guard in one of the shells up to the frequency ``guarded``.
    """
    crossing, before, below = torch.full_like(like, highest), torch.ones_like(like), 0.0
    for frequency, fsc in curve:

        def follow(start: int, at: Values = fsc, low: float = below, high: float = frequency) -> None:
            found, old, new = crossing[start : start + SECTIONS], before[start : start + SECTIONS], at(start)
            drop = (old - new).clamp_min_(1e-6)
            interpolated = old.sub_(threshold).div_(drop).mul_(high - low).add_(low)
            found.copy_(torch.where((new < threshold) & (found == highest), interpolated, found))
            if high <= guarded:
                # A handful of Fourier modes correlate by chance: signal must show where there always is some.
                found.masked_fill_(new < GUARD, 0.0)
            old.copy_(new)

        list(each(follow, range(0, len(like), SECTIONS)))
        below = frequency
    return crossing
