"""What may be done to a map after it was measured, drawn at random: by its depositors, and by those who use it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from emres.errors import UsageError
from emres.simulate.recipe import Processing, Recipe

# Of what may become of a map: natural logarithm of the factor of amplitudes at its resolution; Å^2.
_HANDLED_GAIN, _MOST_B = 2.5, 5000.0
_MOST_CONTOUR = 0.8  # rms densities of the molecule


def draw_deposits(recipe: Recipe, count: int) -> tuple[Processing, ...]:
    """Return so many ways to treat the average of one pair of half maps: the recipe's own, and others drawn beside it.

    Parameters
    ----------
    recipe : Recipe
    count : int

    Returns
    -------
    tuple of Processing
        The first ones are the same for any count. Of the others few stay the plain average.

    Examples
    --------
    >>> [how.low_pass > 0 for how in draw_deposits(Recipe(seed=3), 4)]
    [False, True, True, True]
    """
    own, size, unit = recipe.processing, recipe.voxel_size, recipe.envelope.b_factor
    seeds = np.random.SeedSequence([recipe.seed, 2]).generate_state(max(count - 1, 0), np.uint64)
    return own, *(draw_processing(int(seed), recipe.resolution, size, unit, plain=0.0) for seed in seeds)


def draw_processing(
    seed: int,
    resolution: float,
    voxel_size: float,
    b_factor: float | None = None,
    *,
    same_grid: bool = False,
    plain: float = 0.25,
) -> Processing:
    """Draw what a depositor does; a quarter of the maps stay the plain average.

    Parameters
    ----------
    seed : int
    resolution : float
        Å, of the whole map.
    voxel_size : float
        Å; from which the map may be resampled to 0.6-2.5 Å (coarse maps: to 0.7-1.4 of their own).
    b_factor : float, optional
        Å^2 that the map as a whole suffers, of which sharpening gives back a part; 8 resolution^2 by default.
    same_grid : bool
        Leave box and voxels as they are.
    plain : float
        Share of the maps that stay the plain average.

    Returns
    -------
    Processing

    Raises
    ------
    UsageError
        If the resolution is not positive.
    """
    rng = _generator(seed, 1, resolution)
    untouched, weighted, sharp, limited = (bool(rng.random() < share) for share in (plain, 0.6, 0.75, 0.6))
    strength = min(float(rng.uniform(0.2, 1.2)) * (b_factor or 8 * resolution**2), max(200.0, 4 * resolution**2))
    cut = float(rng.uniform(0.8, 1.15)) * resolution
    mask = str(rng.choice(["none", "none", "molecule", "sphere"]))
    edge = float(rng.uniform(2, 8)) * voxel_size
    region = float(rng.uniform(0.08, 0.6)) if rng.random() < 0.2 else 1.0
    cropped, resampled = bool(rng.random() < 0.3), bool(rng.random() < 0.35)
    finer = _new_voxel_size(rng, resolution, voxel_size)
    if untouched:
        return Processing()
    return Processing(
        fsc_weighting=weighted,
        sharpening=-strength if sharp and (weighted or limited) else 0.0,
        low_pass=cut if limited else 0.0,
        mask=mask if region == 1 else "molecule",
        mask_edge=edge,
        region=1.0 if same_grid else region,
        crop=cropped and not same_grid,
        crop_margin=float(rng.uniform(1, 10)) * voxel_size,
        voxel_size=finer if resampled and not same_grid else 0.0,
    )


def draw_handling(seed: int, resolution: float, voxel_size: float) -> Processing:
    """Draw what may become of a map on its way to somebody: more than most depositors do to one.

    It is blurred, or sharpened too far, low-passed away from its resolution, masked more closely or to one chain, cut
    out, also through the molecule, and resampled; some of it, or all.

    Parameters
    ----------
    seed : int
    resolution : float
        Å, of the whole map.
    voxel_size : float
        Å.

    Returns
    -------
    Processing
        Amplitudes at the resolution change by up to a factor of 12.

    Raises
    ------
    UsageError
        If the resolution is not positive.

    Examples
    --------
    >>> draw_handling(5, 6.0, 2.0).crop
    True
    """
    rng = _generator(seed, 3, resolution)
    weighted, filtered, limited, masked, cropped, resampled = (
        bool(rng.random() < share) for share in (0.3, 0.75, 0.5, 0.4, 0.5, 0.35)
    )
    gain, cut, finer = _handled_filters(rng, resolution, voxel_size)
    part = float(rng.uniform(0.1, 0.9)) if rng.random() < 0.5 and (masked or cropped) else 1.0
    return Processing(
        fsc_weighting=weighted,
        sharpening=_handled_sharpening(gain, resolution) if filtered else 0.0,
        low_pass=cut if limited else 0.0,
        mask="molecule" if masked else "none",
        mask_edge=float(rng.uniform(3, 10)),
        region=part,
        crop=cropped,
        crop_margin=float(rng.uniform(0, 12)),
        voxel_size=finer if resampled and _holds(finer, resolution, voxel_size) else 0.0,
    )


def draw_change(seed: int, resolution: float, voxel_size: float) -> Processing:
    """Draw one thing that may become of a plain average, and nothing else.

    It is cut out, softly or without an edge (a third of them), blurred or sharpened, low-passed, cropped to a part, or
    resampled. Among all that :func:`draw_handling` does to one map a single change is rare.

    Parameters
    ----------
    seed, resolution, voxel_size
        As for :func:`draw_handling`.

    Returns
    -------
    Processing

    Raises
    ------
    UsageError
        If the resolution is not positive.

    Examples
    --------
    >>> draw_change(2, 6.0, 2.0).crop
    True
    """
    rng = _generator(seed, 5, resolution)
    which = str(rng.choice(["mask", "mask", "filter", "low-pass", "crop", "resample"]))
    hard = bool(rng.random() < 0.5)
    gain, cut, finer = _handled_filters(rng, resolution, voxel_size)
    part, whole = float(rng.uniform(0.1, 0.9)), bool(rng.random() >= 0.25)
    if which == "mask":
        edge = 0.0 if hard else float(rng.uniform(3, 10))
        return Processing(mask="molecule", mask_edge=edge, region=1.0 if whole else part)
    if which == "filter":
        return Processing(sharpening=_handled_sharpening(gain, resolution))
    if which == "low-pass":
        return Processing(low_pass=cut)
    if which == "crop":
        return Processing(crop=True, crop_margin=float(rng.uniform(0, 12)), region=part)
    return Processing(voxel_size=finer if _holds(finer, resolution, voxel_size) else 0.65 * voxel_size)


def _handled_filters(rng: np.random.Generator, resolution: float, voxel_size: float) -> tuple[float, float, float]:
    """Draw by what factor, its logarithm, a map is sharpened at its resolution, where it is cut, its new voxel size."""
    gain = float(rng.uniform(-_HANDLED_GAIN, _HANDLED_GAIN))
    return gain, even(rng, 0.8 * resolution, 1.5 * resolution), even(rng, 0.65 * voxel_size, 1.7 * voxel_size)


def _holds(new: float, resolution: float, voxel_size: float) -> bool:
    """Whether a new voxel size takes nothing from a map: it is finer than its own, or its resolution leaves room."""
    return new < voxel_size or resolution > 2.1 * new


def _handled_sharpening(gain: float, resolution: float) -> float:
    """Return the B factor, Å^2, that multiplies amplitudes at a resolution by exp(gain)."""
    return float(np.clip(-4 * gain * resolution**2, -_MOST_B, _MOST_B))


def draw_stripped(seed: int, resolution: float, voxel_size: float, *, alone: bool = False) -> Processing:
    """Draw what may become of a map that is stripped in the end of what is negative, or lies below a contour.

    Half of them are cut out without a soft edge, as programs cut out chains; half of these, or more, to a part.

    Parameters
    ----------
    seed, resolution, voxel_size
        As for :func:`draw_handling`, which draws the rest.
    alone : bool
        Whether there is no rest.

    Returns
    -------
    Processing

    Raises
    ------
    UsageError
        If the resolution is not positive.

    Examples
    --------
    >>> [draw_stripped(seed, 6.0, 2.0).contour > 0 for seed in range(4)]
    [True, False, True, True]
    """
    rng = _generator(seed, 4, resolution)
    handled = Processing() if alone else draw_handling(seed, resolution, voxel_size)
    all_negative, hard = (bool(rng.random() < 0.5) for _ in range(2))
    contour, part, whole = float(rng.uniform(0, _MOST_CONTOUR)), float(rng.uniform(0.1, 0.9)), rng.random() < 0.5
    stripped = replace(handled, contour=0.0 if all_negative else contour)
    if not hard:
        return stripped
    region = handled.region if whole or handled.region < 1 else part
    return replace(stripped, mask="molecule", mask_edge=0.0, region=region)


def _new_voxel_size(rng: np.random.Generator, resolution: float, voxel_size: float) -> float:
    """Draw a voxel size that holds the resolution and needs at most three times the voxels."""
    low, high = (0.6, 2.5) if voxel_size < 2.5 else (0.7 * voxel_size, 1.4 * voxel_size)
    low = max(low, 0.7 * voxel_size)
    return even(rng, low, max(low, min(high, resolution / 2.1)))


def _generator(seed: int, stream: int, resolution: float) -> np.random.Generator:
    if not resolution > 0:
        raise UsageError("a resolution is out of range", got=f"{resolution} Å", expected="above 0")
    return np.random.default_rng([seed, stream])


def even(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw evenly in logarithm, to four digits: recipes are read by people.

    Parameters
    ----------
    rng : numpy.random.Generator
    low, high : float
        Above 0.
    """
    return float(f"{np.clip(math.exp(rng.uniform(math.log(low), math.log(high))), low, high):.4g}")
