"""What patches are cut from: an entry, opened, with the numbers of its whole maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emres.volume.density import Normalisation
from emres.volume.grid import Grid
from emres.volume.levels import Levels
from emres.volume.resample import Sliceable
from emres.volume.spectrum import Spectra


@dataclass(frozen=True)
class MapFacts:
    """Numbers of a whole map, taken once.

    Parameters
    ----------
    normalisation : Normalisation
    spectra : Spectra
        Of the normalised map on the voxels that patches have.
    shown : float, optional
        The level that its local power over its noise shows, where that is known.
    read : two Levels, optional
        What a reader finds in it, without the reported resolution and with it.
    stripped : bool
        Whether nothing in it lies below its background.
    """

    normalisation: Normalisation
    spectra: Spectra
    shown: float | None = None
    read: tuple[Levels, Levels] | None = None
    stripped: bool = False


@dataclass(frozen=True)
class Source:
    """An entry that patches are cut from.

    Parameters
    ----------
    name : str
    grid : Grid
    densities : mapping
        ``map`` and ``average`` -> arrays that can be sliced, on the grid.
    target : array that can be sliced
        Å, 0 where there is none.
    facts : mapping
        ``map`` and ``average`` -> their numbers; asked for only where they are used.
    valid : (float, float)
        Å: a target at or beyond either was capped.
    finest : float
        Å, the finest resolution in the map.
    lattice : int
        Above 0: cubes of that side which have nothing to do with each other.
    reported : float, optional
        Å, the resolution reported for the whole map.
    coarsest : float
        Å, as ``finest``.
    """

    name: str
    grid: Grid
    densities: Mapping[str, Sliceable]
    target: Sliceable
    facts: Mapping[str, MapFacts]
    valid: tuple[float, float] = (0.0, float("inf"))
    finest: float = 0.0
    lattice: int = 0
    reported: float | None = None
    coarsest: float = 0.0
