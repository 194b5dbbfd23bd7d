"""Fourier transforms of a whole volume in the room of one: part by part, in place.

``torch.fft.rfftn`` and its inverse hold one or two more volumes while they work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

# Sections, or rows of them, that are transformed at a time.
SLAB = 16


def unset(shape: Sequence[int], dtype: type[np.generic], device: torch.device) -> torch.Tensor:
    """Return a volume of no values yet.

    For large ones numpy asks for huge pages; small ones, touched one by one, cost half as much as a transform.
    """
    if device.type == "cpu":
        return torch.from_numpy(np.empty(shape, dtype=dtype))
    return torch.empty(*shape, dtype=torch.from_numpy(np.empty(0, dtype=dtype)).dtype, device=device)


def half_complex(volume: torch.Tensor, scale: float = 1.0, out: torch.Tensor | None = None) -> torch.Tensor:
    """Return ``torch.fft.rfftn`` of a volume times ``scale``.

    Parameters
    ----------
    volume : (z, y, x) float32
    scale : float
    out : (z, y, x // 2 + 1) complex64, optional
        Where to put it. What a thread asks for itself, others can not use again.

    Returns
    -------
    (z, y, x // 2 + 1) complex64
    """
    nz, ny, nx = volume.shape
    spectrum = unset((nz, ny, nx // 2 + 1), np.complex64, volume.device) if out is None else out
    for target, slab in zip(torch.split(spectrum, SLAB), torch.split(volume, SLAB), strict=True):
        target.copy_(torch.fft.rfft2(slab if scale == 1 else slab * scale))
    for rows in torch.split(spectrum, SLAB, dim=1):
        rows.copy_(torch.fft.fft(rows, dim=0))
    return spectrum


def sections(spectrum: torch.Tensor, shape: Sequence[int]) -> Iterator[torch.Tensor]:
    """Yield a volume slab by slab from its transform, which is used up: the volume is never whole.

    Parameters
    ----------
    spectrum : (z, y, up to x // 2 + 1) complex64
        Columns that are missing at the end are zero, and cost nothing.
    shape : (z, y, x) of the volume

    Yields
    ------
    (up to SLAB, y, x) float32
    """
    for rows in torch.split(spectrum, SLAB, dim=1):
        rows.copy_(torch.fft.ifft(rows, dim=0))
    for slab in torch.split(spectrum, SLAB):
        yield torch.fft.irfft(torch.fft.ifft(slab, dim=1), n=shape[2], dim=2)
