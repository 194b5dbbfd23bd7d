"""ResMap's whitening: a map whose solvent has a flat spectrum; and the mean spectrum by shells, in little memory."""

from __future__ import annotations

import numpy as np
import torch

from emres.estimators.slab_transform import SLAB, half_complex, sections
from emres.volume.fourier import Curve

# Å: noise is whitened beyond this; what is coarser is the molecule's shape.
_ELBOW = 10.0
# Sections along z that are worked on at once.
_AT_ONCE = 8


def whitened(density: torch.Tensor, solvent: torch.Tensor, voxel_size: float) -> torch.Tensor:
    """Return a map whose solvent has a flat spectrum.

    Parameters
    ----------
    density : (z, y, x) float32
    solvent : (z, y, x) bool
    voxel_size : float, Å

    Returns
    -------
    (z, y, x) float32
        Divided by a smooth curve: the log amplitude of the solvent, fitted by a quadratic in frequency between 10 Å
        (or 5 Fourier pixels below Nyquist, where that is coarser) and Nyquist, constant on either side.
    """
    shape, longest = density.shape, max(density.shape)
    profile = shell_means(half_complex(density * solvent), shape, power=1)
    pixels = np.arange(longest // 2 + 1)
    low = min(longest * voxel_size / _ELBOW, longest // 2 - 5)
    fitted = pixels[pixels >= low]
    log_amplitude = np.log(np.maximum(profile[: longest // 2 + 1], 1e-30))
    curve = np.polynomial.Polynomial.fit(fitted / longest, log_amplitude[fitted], 2)
    table = np.exp(-curve(np.clip(np.arange(len(profile)), fitted[0], fitted[-1]) / longest))
    gain = torch.from_numpy(table / table.min()).float().to(density.device)
    spectrum = half_complex(density)
    for start in range(0, shape[0], _AT_ONCE):
        spectrum[start : start + _AT_ONCE] *= gain[_shells(shape, start, density.device)]
    flat = torch.empty_like(density)
    for target, slab in zip(torch.split(flat, SLAB), sections(spectrum, shape), strict=True):
        target.copy_(slab)
    return flat


def shell_means(spectrum: torch.Tensor, shape: torch.Size, power: int) -> Curve:
    """Return the mean of a power of the amplitude in shells of one Fourier pixel of the longest edge, from 0 on.

    Parameters
    ----------
    spectrum : (z, y, x // 2 + 1) complex
        ``rfftn`` of a volume.
    shape : (z, y, x) voxels
        Of the volume.
    power : int

    Returns
    -------
    (n,) float64
        To the corners of Fourier space; each stored coefficient counts once.
    """
    size = int(max(shape) * 0.5 * 3**0.5) + 2
    total = torch.zeros(size, dtype=torch.float64, device=spectrum.device)
    count = torch.zeros_like(total)
    for start in range(0, shape[0], _AT_ONCE):
        shell = _shells(shape, start, spectrum.device).flatten()
        values = spectrum[start : start + _AT_ONCE].abs().double().pow_(power).flatten()
        total += torch.bincount(shell, weights=values, minlength=size)
        count += torch.bincount(shell, minlength=size)
    return np.asarray((total / count.clamp_min(1)).cpu().numpy())


def _shells(shape: torch.Size, start: int, device: torch.device) -> torch.Tensor:
    """Return the shell of each coefficient of a few sections along z."""
    z, y = (torch.fft.fftfreq(n, device=device) for n in shape[:2])
    z, x = z[start : start + _AT_ONCE], torch.fft.rfftfreq(shape[2], device=device)
    squared = z[:, None, None].square() + y[None, :, None].square() + x[None, None, :].square()
    shells: torch.Tensor = (squared.sqrt_() * max(shape)).round_().long()
    return shells
