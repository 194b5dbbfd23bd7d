"""Three slices of a local resolution, as small as a stamp: a WebP of a few hundred bytes to a few thousand."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.view.palette import palette_for
from emres.view.slices import make_slices

if TYPE_CHECKING:
    import xarray as xr

Array = np.ndarray[Any, Any]

SIDE = 56  # pixels of one slice

_TRIES = ((SIDE, 60), (SIDE, 40), (44, 40), (32, 40), (24, 30))  # (side, quality)
_PALE = 0.6  # share of white in colours where the density is lowest


def thumbnail(volume: xr.DataArray, resolution: xr.DataArray, most_bytes: int) -> bytes | None:
    """Draw three slices through the molecule, coloured by resolution, transparent outside the mask.

    Parameters
    ----------
    volume : Volume
        (z, y, x) density.
    resolution : Volume
        (z, y, x) Å on the same grid; its own 2 to 98 percentiles span the palette.
    most_bytes : int

    Returns
    -------
    bytes or None
        A WebP, 3 to 1; None where even the smallest has more bytes than that.

    Raises
    ------
    MapError
        If no voxel is resolved.
    UsageError
        If the two lie on different grids.
    """
    slices = make_slices(volume, resolution)
    colours = palette_for(slices.resolved)
    densities = np.concatenate([cut.density.ravel() for cut in slices.cuts])
    low, high = np.percentile(densities, (1, 99.7))
    tiles = [_tile(colours(cut.resolution), cut.density, cut.resolution > 0, low, high) for cut in slices.cuts]
    for side, quality in _TRIES:
        found = _encoded([_fitted(tile, side) for tile in tiles], quality)
        if len(found) <= most_bytes:
            return found
    return None


def _tile(colours: Array, density: Array, inside: Array, low: float, high: float) -> Array:
    """Return one slice as (down, across, 4) RGBA, 0-255, the first row at the top."""
    shade = np.clip((density - low) / max(high - low, 1e-30), 0, 1)[..., None]
    shaded = 1 - (1 - colours) * (1 - _PALE * (1 - shade))
    rgba = np.concatenate([shaded, inside[..., None]], axis=-1)
    return np.asarray(np.round(255 * rgba)[::-1], dtype=np.uint8)


def _fitted(tile: Array, side: int) -> Any:
    """Return a slice as a square picture, its shape kept."""
    from PIL import Image

    picture = Image.fromarray(tile)
    scale = side / max(picture.size)
    width, height = (max(1, round(scale * length)) for length in picture.size)
    # Premultiplied, so that what lies outside the mask lends no colour to its edge.
    drawn = picture.convert("RGBa").resize((width, height), Image.Resampling.BILINEAR).convert("RGBA")
    square = Image.new("RGBA", (side, side))
    square.paste(drawn, ((side - width) // 2, (side - height) // 2))
    return square


def _encoded(squares: list[Any], quality: int) -> bytes:
    from PIL import Image

    side = squares[0].width
    strip = Image.new("RGBA", (side * len(squares), side))
    for number, square in enumerate(squares):
        strip.paste(square, (number * side, 0))
    stream = BytesIO()
    strip.save(stream, "WEBP", quality=quality, alpha_quality=30, method=3)
    return stream.getvalue()
