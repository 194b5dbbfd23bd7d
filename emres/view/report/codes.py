"""Volumes as a page carries them: one byte a voxel, squeezed into text."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emres.volume.pyramid import block_mean
from emres.volume.resolved import determined

Array = np.ndarray[Any, Any]

OUTSIDE, UNDETERMINED = 0, 255  # codes of a resolution; 1 to 254 lie evenly between its lowest and highest value

_TAILS = (0.1, 99.95)  # percentiles of the density that are kept apart; beyond them it is clipped


@dataclass(frozen=True)
class Coded:
    """A volume of one byte a voxel, and what the lowest and highest of its codes mean.

    Parameters
    ----------
    codes : (z, y, x) uint8
    low, high : float
    """

    codes: Array
    low: float
    high: float


def coded_density(values: Array, *, keep: float | None = None) -> Coded:
    """Return a density in 256 even steps; the few voxels far out are clipped.

    Parameters
    ----------
    values : (z, y, x) float32
    keep : float, optional
        A level that is to lie well inside the steps: the contour level.
    """
    low, high = (float(value) for value in np.percentile(values, _TAILS))
    if keep is not None:
        low, high = min(low, keep), max(high, keep + (keep - low) / 4)
    if not high > low:
        low, high = float(values.min()), float(values.max())
    if not high > low:
        return Coded(np.zeros(values.shape, dtype=np.uint8), low, low + max(1.0, abs(low)))
    steps = np.clip((values - np.float32(low)) * np.float32(255 / (high - low)), 0, 255)
    return Coded(np.rint(steps).astype(np.uint8), low, high)


def decided(values: Array, *, covers_box: bool = False) -> Array:
    """Return a resolution map with 0 outside its mask and NaN inside where none was determined.

    Parameters
    ----------
    values : (z, y, x) float32
        Å; 0 outside, NaN or ResMap's 100 where not determined.
    covers_box : bool
        The map has no 0 to tell outside from not determined: all of that is outside then, as in ResMap's own files.
    """
    known = determined(values)
    lost = np.float32(0) if covers_box else np.float32(np.nan)
    return np.where(known | (values == 0), values, lost).astype(np.float32, copy=False)


def coarsened(values: Array, factor: int) -> Array:
    """Average a resolution map (see :func:`decided`) over cubes of voxels, each kind of voxel by its majority.

    Parameters
    ----------
    values : (z, y, x) float32
    factor : int
    """
    if factor == 1:
        return values
    known = values > 0
    share = block_mean(known.astype(np.float32), factor)
    lost = block_mean(np.isnan(values).astype(np.float32), factor)
    mean = block_mean(np.where(known, values, np.float32(0)), factor) / np.where(share > 0, share, 1)
    inside = share + lost >= 0.5
    return np.where(inside, np.where(share >= lost, mean, np.nan), 0).astype(np.float32)


def coded_resolution(values: Array) -> Coded:
    """Return a resolution in 254 even steps, with codes of their own for outside and not determined.

    Parameters
    ----------
    values : (z, y, x) float32
        Å; 0 outside the mask, NaN inside where none was determined.
    """
    determined = values > 0
    known = values[determined]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    span = high - low if high > low else 1.0
    codes = np.full(values.shape, OUTSIDE, dtype=np.uint8)
    codes[np.isnan(values)] = UNDETERMINED
    codes[determined] = np.rint(1 + (known - np.float32(low)) * np.float32(253 / span)).astype(np.uint8)
    return Coded(codes, low, low + span)


def packed(volumes: Sequence[Array]) -> str:
    """Return volumes of bytes as text: differences along x (smooth maps shrink), zlib, base64.

    Parameters
    ----------
    volumes : sequence of (z, y, x) uint8
        All of one shape.
    """
    squeeze = zlib.compressobj(6)
    parts = [squeeze.compress(np.diff(codes, axis=2, prepend=np.uint8(0)).tobytes()) for codes in volumes]
    return base64.b64encode(b"".join([*parts, squeeze.flush()])).decode("ascii")
