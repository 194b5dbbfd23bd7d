"""Fourier space of a volume: radial frequency, shells that sum to one, and the FSC curve of two half maps.

Everything here works on the half-complex transform of a real volume (``torch.fft.rfftn``) and counts frequency
in 1/Å along each axis, so boxes that are no cubes and voxels that are no cubes need no special case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.errors import MapError, UsageError
from emres.volume.grid import Triple

if TYPE_CHECKING:
    import torch

Curve = np.ndarray[Any, np.dtype[np.float64]]

# Phases are random from the shell on where the unmasked FSC first falls below this.
RANDOMISE_BELOW = 0.8


def as_tensor(values: Any, name: str = "map", device: str = "cpu") -> torch.Tensor:
    """Return a volume as a float32 tensor on a device.

    Parameters
    ----------
    values : (z, y, x) numpy array or torch tensor
    name : str
        What to call it in an error.
    device : str
        ``cpu``, ``cuda``, ...

    Returns
    -------
    (z, y, x) float32 tensor

    Raises
    ------
    MapError
        If it is not three-dimensional or holds NaN or infinity.
    """
    import torch

    if isinstance(values, torch.Tensor):
        tensor = values.detach().to(device=device, dtype=torch.float32)
    else:
        native = np.array(values, dtype=np.float32, order="C", copy=None)
        # torch warns about read-only arrays; nothing here writes into its input.
        tensor = torch.from_numpy(native if native.flags.writeable else native.copy()).to(device)
    if tensor.ndim != 3:
        raise MapError(f"{name} is not a volume", got=f"shape {tuple(tensor.shape)}", expected="(z, y, x)")
    if not bool(torch.isfinite(tensor.sum())) and not bool(torch.isfinite(tensor).all()):
        raise MapError(f"{name} holds NaN or infinity", cure="replace them by the mean of the solvent first")
    return tensor


def voxel_sizes(voxel_size: float | Triple) -> Triple:
    """Return a voxel size as (z, y, x) Å.

    Raises
    ------
    UsageError
        If one is not positive.

    Examples
    --------
    >>> voxel_sizes(1.5)
    (1.5, 1.5, 1.5)
    """
    sizes = tuple(voxel_size) if isinstance(voxel_size, (tuple, list)) else (float(voxel_size),) * 3
    if len(sizes) != 3 or not all(size > 0 for size in sizes):
        raise UsageError("a voxel size is not usable", got=f"{voxel_size}",
                         expected="positive Å, one or (z, y, x)")
    return float(sizes[0]), float(sizes[1]), float(sizes[2])


def radial_frequency(shape: Sequence[int], voxel_size: float | Triple, device: str = "cpu") -> torch.Tensor:
    """Return the frequency of every coefficient of ``rfftn`` of a volume.

    Parameters
    ----------
    shape : (z, y, x) voxels
    voxel_size : Å, one or (z, y, x)
    device : str

    Returns
    -------
    (z, y, x // 2 + 1) float32 tensor
        1/Å.
    """
    import torch

    nz, ny, nx = shape
    dz, dy, dx = voxel_sizes(voxel_size)
    z = torch.fft.fftfreq(nz, dz, device=device)[:, None, None]
    y = torch.fft.fftfreq(ny, dy, device=device)[None, :, None]
    x = torch.fft.rfftfreq(nx, dx, device=device)[None, None, :]
    squared: torch.Tensor = z * z + y * y + x * x
    return squared.sqrt()


def shell_weight(frequency: torch.Tensor, centre: float, width: float) -> torch.Tensor:
    """Return the amplitude weight of one smooth shell.

    Parameters
    ----------
    frequency : tensor, 1/Å
    centre, width : float, 1/Å
        Distance between neighbouring shells is ``width``; a shell reaches one width to either side.

    Returns
    -------
    tensor
        cos(pi/2 * (f - centre) / width): its squares sum to one over all shells, so the power of the map is
        shared between them without loss.
    """
    import torch

    offset = ((frequency - centre) / width).clamp(-1.0, 1.0)
    return torch.cos(offset * (torch.pi / 2))


def gaussian_filter(volume: torch.Tensor, sigma: float) -> torch.Tensor:
    """Blur a volume with a Gaussian, periodic at the faces.

    Parameters
    ----------
    volume : (z, y, x) float32 tensor
    sigma : float
        Standard deviation, voxels.

    Returns
    -------
    (z, y, x) float32 tensor
    """
    import torch

    frequency = radial_frequency(volume.shape, 1.0, str(volume.device))
    falloff = torch.exp(frequency.square_().mul_(-2 * (torch.pi * sigma) ** 2))
    blurred: torch.Tensor = torch.fft.irfftn(torch.fft.rfftn(volume).mul_(falloff), s=volume.shape)
    return blurred


def radial_power(volume: torch.Tensor, voxel_size: float | Triple) -> tuple[Curve, Curve]:
    """Return the mean power of a volume in shells of one Fourier pixel of the longest edge, up to Nyquist.

    Parameters
    ----------
    volume : (z, y, x) float32 tensor
    voxel_size : Å, one or (z, y, x)

    Returns
    -------
    frequency, power : (n,) float64
        1/Å, from the first shell on, and squared amplitude.
    """
    import torch

    sizes = voxel_sizes(voxel_size)
    width = 1 / max(n * size for n, size in zip(volume.shape, sizes, strict=True))
    shells = int(1 / (2 * max(sizes) * width) + 1e-6) + 1
    shell = (radial_frequency(volume.shape, sizes, str(volume.device)) / width).round().long().clamp_max_(shells)
    power = torch.fft.rfftn(volume).abs().square().double().flatten()
    total = torch.bincount(shell.flatten(), weights=power, minlength=shells + 1)
    mean = (total / torch.bincount(shell.flatten(), minlength=shells + 1).clamp_min(1))[1:shells]
    frequency: Curve = np.arange(1, shells, dtype=np.float64) * width
    return frequency, np.asarray(mean.cpu().numpy())


@dataclass(frozen=True)
class FscCurve:
    """The Fourier shell correlation of two half maps.

    Parameters
    ----------
    frequency : (n,) float64, 1/Å
        Of shells one Fourier pixel of the longest edge thick, from 0 to Nyquist.
    unmasked : (n,) float64
    masked, randomised, corrected : (n,) float64, optional
        With the mask; with the mask on phase-randomised halves; (masked - randomised) / (1 - randomised).
    randomised_from : float, optional
        1/Å from which on phases were random.
    """

    frequency: Curve
    unmasked: Curve
    masked: Curve | None = None
    randomised: Curve | None = None
    corrected: Curve | None = None
    randomised_from: float | None = None

    @property
    def best(self) -> Curve:
        """The corrected curve where there is one, else the unmasked."""
        return self.unmasked if self.corrected is None else self.corrected

    def resolution(self, threshold: float = 0.143) -> float:
        """Return the resolution (Å) where the best curve first falls below a threshold, linear in frequency."""
        return crossing_resolution(self.frequency, self.best, threshold)


def crossing_resolution(frequency: Curve, fsc: Curve, threshold: float) -> float:
    """Return the resolution (Å) where a curve first falls below a threshold, linear in frequency.

    Parameters
    ----------
    frequency : (n,) 1/Å, ascending from 0
    fsc : (n,)
    threshold : float

    Returns
    -------
    float
        The last shell's resolution where the curve never falls.

    Examples
    --------
    >>> import numpy as np
    >>> crossing_resolution(np.array([0.0, 0.1, 0.2, 0.3]), np.array([1.0, 0.9, 0.3, 0.1]), 0.5).__round__(2)
    6.0
    """
    below = np.flatnonzero(fsc[1:] < threshold)
    if not len(below):
        return float(1 / frequency[-1])
    last = int(below[0])
    share = (fsc[last] - threshold) / (fsc[last] - fsc[last + 1])
    crossing = frequency[last] + share * (frequency[last + 1] - frequency[last])
    return float(1 / crossing) if crossing > 0 else float("inf")


def fsc_curve(
    half_map_1: Any, half_map_2: Any, voxel_size: float | Triple, *, mask: Any = None, seed: int = 0,
    device: str = "cpu",
) -> FscCurve:
    """Return the global FSC of two half maps, corrected for the mask by phase randomisation.

    The correction is that of Chen et al., Ultramicroscopy 135 (2013).

    Parameters
    ----------
    half_map_1, half_map_2 : (z, y, x) float32
    voxel_size : Å, one or (z, y, x)
    mask : (z, y, x), optional
        Soft, 0 to 1; without one only the unmasked curve is made.
    seed : int
        Of the random phases.
    device : str

    Returns
    -------
    FscCurve

    Raises
    ------
    UsageError
        If shapes differ.
    """
    import torch

    halves = [as_tensor(half_map_1, "half map 1", device), as_tensor(half_map_2, "half map 2", device)]
    weight = None if mask is None else as_tensor(mask, "mask", device)
    if halves[0].shape != halves[1].shape or (weight is not None and weight.shape != halves[0].shape):
        raise UsageError("half maps and mask differ in shape", got=f"{tuple(halves[1].shape)}",
                         expected=f"{tuple(halves[0].shape)}")
    sizes, shape = voxel_sizes(voxel_size), halves[0].shape
    width = 1 / max(n * size for n, size in zip(shape, sizes, strict=True))
    shells = int(1 / (2 * max(sizes) * width) + 1e-6) + 1
    shell = (radial_frequency(shape, sizes, device) / width).round().long().clamp_max_(shells)
    spectra = [torch.fft.rfftn(half) for half in halves]
    frequency: Curve = np.arange(shells, dtype=np.float64) * width
    unmasked = _shell_correlation(spectra, shell, shells)
    if weight is None:
        return FscCurve(frequency, unmasked)
    low = np.flatnonzero(unmasked[1:] < RANDOMISE_BELOW)
    first = int(low[0]) + 1 if len(low) else shells - 1
    generator = torch.Generator(device=device).manual_seed(seed)
    random = [_random_phases(spectrum, shell >= first, generator) for spectrum in spectra]
    masked, randomised = (
        _shell_correlation(
            [torch.fft.rfftn(torch.fft.irfftn(spectrum, s=shape) * weight) for spectrum in pair], shell, shells)
        for pair in (spectra, random)
    )
    corrected = masked.copy()
    # Two shells of grace: the mask carries correlation over from the shells whose phases are true.
    corrected[first + 2:] = ((masked - randomised) / (1 - randomised))[first + 2:]
    return FscCurve(frequency, unmasked, masked, randomised, corrected, first * width)


def _shell_correlation(spectra: list[torch.Tensor], shell: torch.Tensor, shells: int) -> Curve:
    import torch

    one, two = spectra
    # A coefficient of the half-complex transform stands for two, but in its first plane (and Nyquist's).
    twice = torch.full((one.shape[-1],), 2.0, device=one.device, dtype=torch.float64)
    twice[0] = 1.0
    sums = []
    for a, b in ((one, two), (one, one), (two, two)):
        values = ((a.real * b.real + a.imag * b.imag).double() * twice).flatten()
        sums.append(torch.bincount(shell.flatten(), weights=values, minlength=shells + 1)[:shells])
    fsc = sums[0] / (sums[1] * sums[2]).sqrt().clamp_min(1e-300)
    return np.asarray(fsc.cpu().numpy())


def _random_phases(spectrum: torch.Tensor, where: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    import torch

    angle = torch.rand(spectrum.shape, generator=generator, device=spectrum.device) * (2 * torch.pi)
    return torch.where(where, torch.polar(spectrum.abs(), angle), spectrum)
