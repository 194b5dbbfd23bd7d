"""Recipes with a name, and recipes drawn at random.

B factors are drawn in units of resolution^2: exp(-B / (4 resolution^2)) is how far the amplitudes have fallen where the
map ends, which is alike at all resolutions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from emres.simulate.processings import draw_processing, even
from emres.simulate.recipe import (
    NYQUIST_VOXELS,
    Envelope,
    Framing,
    Motion,
    Noise,
    Processing,
    Recipe,
    Surroundings,
)

_MEMBRANE = Surroundings(micelle=0.55, solvent=0.35)
_FLEXIBLE = Motion(domains=2, domain_b=200.0, fading=0.3)
_CROPPED = Processing(fsc_weighting=True, sharpening=-60.0, region=0.35, mask="molecule", mask_edge=4.0, crop=True)
_MASKED = Processing(fsc_weighting=True, sharpening=-80.0, low_pass=3.2, mask="molecule", mask_edge=6.0)

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "typical": Recipe(processing=Processing(fsc_weighting=True, sharpening=-60.0)),
        "plain": Recipe(),
        "high-resolution": Recipe(processing=Processing(fsc_weighting=True, sharpening=-60.0)).at(
            resolution=2.0, voxel_size=0.75
        ),
        "low-resolution": Recipe(noise=Noise(power=0.3), framing=Framing(padding=40.0)).at(
            resolution=9.0, voxel_size=2.6
        ),
        "membrane": Recipe(surroundings=_MEMBRANE, processing=Processing(fsc_weighting=True, sharpening=-70.0)),
        "nucleic": Recipe(surroundings=Surroundings(nucleic=14)),
        "flexible": Recipe(resolution=3.6, motion=_FLEXIBLE, processing=Processing(sharpening=-50.0, low_pass=3.4)),
        "symmetric": Recipe(symmetry="C4", resolution=3.0, framing=Framing(cubic=True)),
        "preferred-orientation": Recipe(noise=Noise(power=0.8, anisotropy=0.8), framing=Framing(sphere=True)),
        "cropped": Recipe(processing=_CROPPED),
        "masked": Recipe(processing=_MASKED),
        "resampled": Recipe(processing=Processing(fsc_weighting=True, sharpening=-60.0, voxel_size=0.8)),
    }
)

# Ranges of the draw: Å per voxel, Å, and the coarsest resolution in voxels.
VOXEL_SIZES = (0.5, 4.0)
RESOLUTIONS = (1.8, 15.0)
COARSEST_VOXELS = 6.0
# A box of fewer voxels than this along the molecule's longest side shows a speck.
FEWEST_VOXELS = 24


def draw_recipe(
    seed: int,
    *,
    extent: float | None = None,
    voxel_size: float | None = None,
    resolution: float | None = None,
    box: int = 160,
) -> Recipe:
    """Draw a recipe at random, over wide ranges of everything.

    Parameters
    ----------
    seed : int
        Of the draw, and of the recipe.
    extent : float, optional
        Å; longest side of the model. With it the voxel size is drawn so that the model is no speck, and the box of one
        copy has at most some ``box`` voxels along a side; where even 4 Å is too fine for that, the box grows.
    voxel_size, resolution : float, optional
        Å; fixed instead of drawn.
    box : int
        Voxels.

    Returns
    -------
    Recipe
        Voxel sizes of 0.5 to 4 Å and resolutions of 1.8 to 15 Å, evenly in logarithm, from 2.1 to 6 voxels.

    Raises
    ------
    UsageError
        If the voxel size and resolution given do not go together.
    """
    rng = np.random.default_rng([seed, 0])
    padding = float(rng.uniform(10, 30))
    size = voxel_size or _voxel_size(rng, extent, padding, box, resolution)
    sharp = resolution or _resolution(rng, size)
    unit = sharp**2
    envelope = _envelope(rng, unit)
    symmetry = _symmetry(rng, extent, size, padding, box)
    return Recipe(
        seed=seed,
        voxel_size=size,
        resolution=sharp,
        symmetry=symmetry,
        crowd=_crowd(extent, size) if symmetry == "C1" else 1,
        framing=_framing(rng, max(padding, 5 * size)),
        motion=_motion(rng, unit),
        envelope=envelope,
        surroundings=_surroundings(rng, size),
        noise=Noise(float(rng.uniform(0, 1.3)), float(rng.uniform(0.2, 0.9)) if rng.random() < 0.4 else 0.0),
        processing=draw_processing(seed, sharp, size, envelope.b_factor),
    )


def _voxel_size(rng: np.random.Generator, extent: float | None, padding: float, box: int, sharp: float | None) -> float:
    low, high = VOXEL_SIZES
    if sharp:
        low, high = max(low, sharp / COARSEST_VOXELS), min(high, sharp / NYQUIST_VOXELS)
    if extent:
        low = max(low, (extent + 2 * padding) / box)
        high = min(high, 2 * extent / FEWEST_VOXELS)
    return even(rng, low, max(low, high))


def _resolution(rng: np.random.Generator, size: float) -> float:
    finest = 2.1 * size
    return even(rng, max(RESOLUTIONS[0], finest), max(finest, min(RESOLUTIONS[1], COARSEST_VOXELS * size)))


def _symmetry(rng: np.random.Generator, extent: float | None, size: float, padding: float, box: int) -> str:
    """Draw a symmetry whose copies fit the box."""
    drawn = str(rng.choice(["C2", "C3", "C4", "C5", "C6", "C7", "D2", "D3", "D4"]))
    wanted = rng.random() < 0.3
    width = (extent or 60.0) * (1 if drawn == "C2" else 2) + 2 * padding
    return drawn if wanted and width / size <= 1.3 * box else "C1"


def _crowd(extent: float | None, size: float) -> int:
    """Return how many copies along a side make an object of a fair size on coarse voxels."""
    return 1 if extent is None else int(np.clip(round(FEWEST_VOXELS * size / extent), 1, 6))


def _framing(rng: np.random.Generator, padding: float) -> Framing:
    cubic, odd, sphere = (bool(rng.random() < share) for share in (0.6, 0.2, 0.35))
    return Framing(padding=padding, cubic=cubic, odd=odd, sphere=sphere)


def _motion(rng: np.random.Generator, unit: float) -> Motion:
    swings = bool(rng.random() < 0.4)
    return Motion(
        deposited=float(rng.uniform(0, 2)) * unit / 10,
        radial=float(rng.uniform(0, 9)) * unit,
        field=float(rng.uniform(1, 9)) * unit,
        field_length=float(rng.uniform(5, 16)) * math.sqrt(unit),
        domains=int(rng.integers(1, 4)) if swings else 0,
        domain_b=float(rng.uniform(5, 30)) * unit if swings else 0.0,
        fading=float(rng.uniform(0.2, 0.9)) if rng.random() < 0.3 else 0.0,
    )


def _envelope(rng: np.random.Generator, unit: float) -> Envelope:
    nearest = float(rng.uniform(5000, 15000))
    return Envelope(
        b_factor=float(rng.uniform(4, 12)) * unit,
        ctf=str(rng.choice(["none", "flipped", "wiener", "wiener"])),
        defocus=(nearest, nearest + float(rng.uniform(3000, 20000))),
        detector=float(rng.uniform(0.3, 1)),
    )


def _surroundings(rng: np.random.Generator, size: float) -> Surroundings:
    belt, duplex = rng.random() < 0.25, rng.random() < 0.15
    return Surroundings(
        solvent=float(rng.uniform(0, 0.5)),
        micelle=float(rng.uniform(0.3, 0.8)) if belt else 0.0,
        micelle_width=float(rng.uniform(12, 24)),
        nucleic=int(rng.integers(8, 40)) if duplex and size < 3 else 0,
    )
