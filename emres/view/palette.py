"""From Å to colour, the same in every picture: slices, surfaces, reports, ChimeraX."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.errors import MapError, UsageError
from emres.volume.resolved import determined

if TYPE_CHECKING:
    from matplotlib.colors import LinearSegmentedColormap, Normalize

Array = np.ndarray[Any, Any]

GRAY = "#bfbfbf"  # not determined, or far coarser than the scale

# Blue is fine and red is coarse: as the field is used to, in the order of ChimeraX' own examples.
_RAINBOW = ("#2a3fd6", "#1fa7ea", "#1fbf8f", "#58c72f", "#e9de2c", "#f7921e", "#d4201c")
_STOPS = 9
# The ends of most of Matplotlib's palettes are too dark or too pale to be told from a shade of another colour.
_USED = (0.1, 0.95)

PALETTE = "rainbow"
PALETTES = ("rainbow", "viridis", "cividis")  # the last two for readers who see red as green

_LIMITS = (2, 98)  # percentiles of the resolution that the palette spans


@dataclass(frozen=True)
class Palette:
    """The scale of a picture: which colour stands for how many Å.

    Parameters
    ----------
    name : str
    low, high : float
        Å, the finest and the coarsest that the colours tell apart. Finer ones get the first colour, coarser ones the
        last; beyond ``gray_from`` they are gray.
    colours : tuple of str
        ``#rrggbb``, at equal steps from ``low`` to ``high``; between them it is linear.
    gray : str
        ``#rrggbb`` of what is not determined (0, NaN, ResMap's 100) or coarser than ``gray_from``.

    Examples
    --------
    >>> palette = Palette("two", 3.0, 5.0, ("#0000ff", "#ff0000"), gray="#808080")
    >>> palette.hexes(np.array([2.5, 4.0, 5.0, 0.0])).tolist()
    ['#0000ff', '#800080', '#ff0000', '#808080']
    """

    name: str
    low: float
    high: float
    colours: tuple[str, ...]
    gray: str = GRAY

    @property
    def gray_from(self) -> float:
        """Å beyond which a value lies so far off the scale that its last colour would mislead."""
        return self.high + (self.high - self.low)

    @property
    def stops(self) -> list[tuple[float, str]]:
        """Å and colour, from fine to coarse."""
        return list(zip(np.linspace(self.low, self.high, len(self.colours)).tolist(), self.colours, strict=True))

    def __call__(self, resolution: Array) -> Array:
        """Return the colours of resolutions in Å: (...) -> (..., 3) float32 RGB, 0-1."""
        values = np.asarray(resolution, dtype=np.float32)
        known = determined(values) & (values <= self.gray_from)
        place = np.where(known, values, self.low)
        at = np.linspace(self.low, self.high, len(self.colours))
        channels = [np.interp(place, at, channel) for channel in self._rgb.T]
        colours = np.stack(channels, axis=-1).astype(np.float32)
        colours[~known] = _rgb(self.gray)
        return colours

    def hexes(self, resolution: Array) -> Array:
        """Return the colours of resolutions in Å as ``#rrggbb``."""
        numbers = np.round(255 * self(resolution)).astype(int)
        return np.apply_along_axis(lambda rgb: "#{:02x}{:02x}{:02x}".format(*rgb), -1, numbers)

    def to_json(self) -> dict[str, Any]:
        """Return the scale as JSON values: the fields' names, and ``stops`` as pairs of Å and colour."""
        return {
            "name": self.name,
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "stops": [[round(value, 4), colour] for value, colour in self.stops],
            "gray": self.gray,
            "gray_from": round(self.gray_from, 4),
        }

    @cached_property
    def _rgb(self) -> Array:
        return np.array([_rgb(colour) for colour in self.colours])

    @property
    def colormap(self) -> LinearSegmentedColormap:
        """The colours as a Matplotlib colour map over 0-1."""
        from matplotlib.colors import LinearSegmentedColormap

        return LinearSegmentedColormap.from_list(self.name, list(self.colours), N=512)

    @property
    def scale(self) -> Normalize:
        """The limits as Matplotlib's way from Å to 0-1."""
        from matplotlib.colors import Normalize

        return Normalize(self.low, self.high)


def palette_for(resolution: Array, name: str = PALETTE, reported: float | None = None) -> Palette:
    """Return the scale for a local-resolution map.

    Parameters
    ----------
    resolution : array of any shape
        Å; what is not determined (0, NaN, ResMap's 100) does not count.
    name : str
        ``rainbow``, ``viridis``, ``cividis``, or any of Matplotlib's colour maps.
    reported : float, optional
        The resolution reported for the whole map, Å; see :func:`limits`.

    Returns
    -------
    Palette

    Raises
    ------
    UsageError
        If there is no such palette.
    MapError
        If nothing is determined.
    """
    colours = _colours(name)
    return Palette(name, *limits(resolution, reported), colours)


def limits(resolution: Array, reported: float | None = None) -> tuple[float, float]:
    """Return the limits of the scale of a local-resolution map, Å: its 2 and 98 percentiles.

    The reported resolution belongs on the scale, but not at the price of its colours: it widens the scale to less than
    double its length.

    Raises
    ------
    MapError
        If nothing is determined.
    """
    found = resolution[determined(resolution)]
    if not found.size:
        raise MapError("the local resolution holds no resolved voxel", cure="predict again with --mask auto or none")
    low, high = (float(value) for value in np.percentile(found, _LIMITS))
    if high - low < 0.02:
        low, high = low - 0.1, high + 0.1
    if reported and 2 * low - high < reported < 2 * high - low:
        low, high = min(low, reported), max(high, reported)
    return low, high


def _colours(name: str) -> tuple[str, ...]:
    if name == PALETTE:
        return _RAINBOW
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    if name not in colormaps:
        raise UsageError("unknown palette", got=name, expected=f"{', '.join(PALETTES)} or a Matplotlib colour map")
    return tuple(to_hex(colour) for colour in colormaps[name](np.linspace(*_USED, _STOPS)))


def _rgb(colour: str) -> Array:
    return np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
