"""Fourier space of a volume: radial frequency, shells that sum to one, a blur.

Everything here works on the half-complex transform of a real volume (``torch.fft.rfftn``) and counts frequency
in 1/Å along each axis, so boxes that are no cubes and voxels that are no cubes need no special case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.errors import MapError, UsageError
from emres.volume.grid import Triple

if TYPE_CHECKING:
    import torch

Curve = np.ndarray[Any, np.dtype[np.float64]]


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
        raise UsageError("a voxel size is not usable", got=f"{voxel_size}", expected="positive Å, one or (z, y, x)")
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


def inverse_transform(spectrum: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return the volume of a half-complex transform, as ``torch.fft.irfftn`` does, in half its time.

    Parameters
    ----------
    spectrum : (z, y, up to x // 2 + 1) complex
        Columns that are missing at the end of the last axis are zero, and cost nothing.
    shape : (z, y, x) voxels

    Returns
    -------
    (z, y, x) tensor
    """
    import torch

    columns = torch.fft.ifftn(spectrum, dim=(0, 1))
    volume: torch.Tensor = torch.fft.irfft(columns, n=shape[2], dim=2)
    return volume


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
    return inverse_transform(torch.fft.rfftn(volume).mul_(falloff), volume.shape)


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
