"""How a surface looks in the light: one lamp, dark crevices, paleness far behind, smooth edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

Array = np.ndarray[Any, Any]

_LIGHT = np.array([-0.35, 0.5, 0.79])  # right, up, towards the viewer
_AMBIENT, _DIFFUSE, _GLOSS = 0.42, 0.66, 0.16
_CREVICES = 0.55  # how dark what lies behind its surroundings is drawn at most
_FOG = 0.35  # share of white at the far end


def lit(normals: Array) -> tuple[Array, Array]:
    """Return how bright the colour is and how much white is added, by one lamp over the viewer's left shoulder."""
    lamp = _LIGHT / np.linalg.norm(_LIGHT)
    facing = np.clip(normals @ lamp, 0, 1)
    halfway = lamp + np.array([0, 0, 1])
    gloss = np.clip(normals @ (halfway / np.linalg.norm(halfway)), 0, 1) ** 24
    return _AMBIENT + _DIFFUSE * facing, _GLOSS * gloss


def open_sky(depth: Array, pixel_size: float) -> Array:
    """Return 1 where the surface stands out and less in crevices (unsharp masking of the depth, Luft et al. 2006)."""
    hit = np.isfinite(depth)
    filled = np.where(hit, depth, 0)
    answer = np.ones_like(filled)
    scale = max(depth.shape) * pixel_size
    for reach in (0.012, 0.05):
        sigma = reach * max(depth.shape)
        weight = ndimage.gaussian_filter(hit.astype(np.float32), sigma, truncate=2.5)
        around = ndimage.gaussian_filter(filled, sigma, truncate=2.5) / np.maximum(weight, 1e-3)
        behind = np.clip((filled - around) / (reach * scale), 0, 1)
        answer *= 1 - 0.5 * _CREVICES * behind
    return answer


def fog(depth: Array) -> Array:
    """Return the share of white, 0 in front and most at the back: (n,) depths -> (n,)."""
    if not depth.size:
        return depth
    near, far = float(depth.min()), float(depth.max())
    return np.asarray(_FOG * ((depth - near) / max(far - near, 1e-6)) ** 1.5)


def reduced(rgb: Array, hit: Array, k: int) -> Array:
    """Average squares of k^2 pixels; return RGBA: colours where anything is hit, and how much of the pixel is."""
    rows, columns = (n // k * k for n in hit.shape)
    alpha = hit[:rows, :columns].astype(np.float32)
    squares = (rows // k, k, columns // k, k)
    cover = alpha.reshape(squares).mean(axis=(1, 3))
    mixed = (rgb[:rows, :columns] * alpha[..., None]).reshape(*squares, 3).mean(axis=(1, 3))
    return np.concatenate([mixed / np.maximum(cover, 1e-6)[..., None], cover[..., None]], axis=-1)
