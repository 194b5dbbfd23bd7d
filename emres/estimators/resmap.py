"""ResMap: the finest resolution at which a wave in the map is more than the noise would make.

The method of Kucukelbir, Sigworth and Tagare (Nature Methods 11, 2014), kernel exp(-r^2) as the published program
computes it. The solvent gives the noise; at each resolution, fine to coarse, a likelihood-ratio statistic is tested
at every voxel with a false-discovery rate of 5 % (Benjamini-Yekutieli); a voxel takes the first resolution that
passes. Coloured noise is whitened first, without a person.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.special import digamma

from emres.errors import UsageError
from emres.estimators.chosen import how_many, put_at
from emres.estimators.estimate import Estimate
from emres.estimators.one_map import measurable
from emres.estimators.resmap_blocks import gain_over_constant, noise_variance
from emres.estimators.resmap_kernels import local_model
from emres.estimators.resmap_low_pass import brought_back, cut_off, resampled
from emres.estimators.resmap_whitening import whitened
from emres.volume.fourier import as_tensor, voxel_sizes
from emres.volume.grid import Triple

UNRESOLVED = 100.0
# Voxels next to the surface of the largest sphere that are not tested, and that are not taken for noise either.
_MARGIN = 9
_NOISE_MARGIN = 1
# Voxels by which the mask is grown before the spectrum of the rest is taken for the solvent's.
_GROWN = 2
# A level that adds less than this share of what was found before is the last.
_ADDED_AT_LEAST = 1e-3


def resmap(
    volume: Any,
    voxel_size: float | Triple,
    mask: Any,
    *,
    finest: float | None = None,
    coarsest: float | None = None,
    step: float = 1.0,
    significance: float = 0.05,
    whiten: bool = True,
    low_pass_test: bool = True,
    device: str = "cpu",
) -> Estimate:
    """Estimate local resolution from one map.

    Parameters
    ----------
    volume : (z, y, x) float32
        Unmasked, unsharpened; a box that is no cube is as good as one.
    voxel_size : Å, one or (z, y, x)
    mask : (z, y, x)
        The molecule is where it is above 0.5.
    finest, coarsest : float, optional
        Å, ends of the sweep: 2.2 and 4 voxels without them, as the program has it. The last level is the first
        one at or beyond ``coarsest``.
    step : float
        Å between levels.
    significance : float
        False-discovery rate.
    whiten : bool
        Flatten the spectrum of the solvent first.
    low_pass_test : bool
        Measure a map whose spectrum was cut on the grid that the rest of it fills; no level is then finer than 2.2
        voxels of that grid.
    device : str

    Returns
    -------
    Estimate
        Resolution in Å, 100 where unresolved, 0 outside the mask.

    Raises
    ------
    MapError, UsageError
        If the map is constant or a speck, mask and map differ in shape, the box has no room for a window, or molecule
        or solvent is missing.
    """
    (density,) = measurable(as_tensor(volume, "map", device))
    inside = as_tensor(mask, "mask", device) > 0.5
    if inside.shape != density.shape:
        raise UsageError(
            "mask and map differ in shape", got=f"{tuple(inside.shape)}", expected=f"{tuple(density.shape)}"
        )
    _check_room(inside)
    voxel = sum(voxel_sizes(voxel_size)) / 3
    factor = cut_off(density) if low_pass_test else None
    if factor is None:
        levels = sweep_levels(voxel, finest, coarsest, step)
        resolution = _measure(density, inside, voxel, levels, significance, whiten)
    else:
        levels = _coarser_levels(voxel / factor, finest, coarsest, step)
        resolution = _measure(*resampled(density, inside, factor), voxel / factor, levels, significance, whiten)
        resolution = brought_back(resolution, density.shape, UNRESOLVED) * inside
    unresolved = inside & (resolution == 0)
    resolution[unresolved] = UNRESOLVED
    total = how_many(inside)
    return Estimate(
        resolution=resolution.cpu().numpy(),
        method="resmap",
        definition="resmap",
        threshold=significance,
        window=0.0,
        parameters={
            "finest": levels[0],
            "coarsest": levels[-1],
            "step": step,
            "whiten": whiten,
            "low_passed_at": None if factor is None else 2 * voxel / factor,
        },
        capped_share=how_many(inside & (resolution == levels[0])) / total,
        unresolved_share=how_many(unresolved) / total,
    )


def sweep_levels(voxel_size: float, finest: float | None, coarsest: float | None, step: float) -> list[float]:
    """Return the resolutions that are tested, in Å.

    Examples
    --------
    >>> sweep_levels(1.0, None, 5.0, 1.0)
    [2.2, 3.2, 4.2, 5.2]
    """
    first = finest or 2.2 * voxel_size
    first = round(first, 1) or first
    last = coarsest or round(4 * voxel_size * 2) / 2
    if step <= 0 or last < first:
        raise UsageError(
            "a sweep has no steps",
            got=f"{first:g} to {last:g} Å in steps of {step:g} Å",
            expected="from fine to coarse",
        )
    levels = [round(first + i * step, 6) for i in range(math.ceil((last - first) / step - 1e-6) + 1)]
    if levels[-1] >= UNRESOLVED:
        raise UsageError(
            "ResMap's sweep is too coarse",
            got=f"{levels[-1]:g} Å",
            expected=f"less than {UNRESOLVED:g} Å, which stands for unresolved",
        )
    return levels


def _coarser_levels(voxel: float, finest: float | None, coarsest: float | None, step: float) -> list[float]:
    """Return the levels for a grid coarser than the one that the ends of the sweep were meant for."""
    first = max(finest or 0.0, round(2.2 * voxel, 1))
    return sweep_levels(voxel, first, None if coarsest is None else max(coarsest, first), step)


def _measure(
    density: torch.Tensor,
    inside: torch.Tensor,
    voxel: float,
    levels: list[float],
    significance: float,
    whiten: bool,
) -> torch.Tensor:
    """Return the level of each voxel, 0 where none passed."""
    solvent = ~_grown(inside, _GROWN)
    _check_room(inside)
    tested = inside & _inner_ellipsoid(inside, _MARGIN)
    noise = (~inside & _inner_ellipsoid(inside, _NOISE_MARGIN), ~inside)
    if not bool(tested.any()) or not bool(solvent.any()):
        what = (
            "fills the box" if not bool(solvent.any()) else f"leaves no voxel {_MARGIN} voxels inside the box's sphere"
        )
        raise UsageError(
            "ResMap needs molecule and solvent",
            got=f"a mask that {what if bool(inside.any()) else 'is empty'}",
            cure="pass a mask that leaves solvent around the molecule",
        )
    if whiten:
        density = whitened(density, solvent, voxel)
    return _scan(density, tested, noise, voxel, levels, significance)


def _check_room(inside: torch.Tensor) -> None:
    if min(inside.shape) <= 2 * _MARGIN:
        raise UsageError(
            "the box is too small for ResMap",
            got=f"{min(inside.shape)} voxels along its shortest edge",
            expected=f"more than {2 * _MARGIN}: nothing within {_MARGIN} voxels of its surface is tested",
            cure="use monores, or a map with more solvent round the molecule",
        )


def _scan(
    density: torch.Tensor,
    tested: torch.Tensor,
    noise: tuple[torch.Tensor, ...],
    voxel: float,
    levels: list[float],
    significance: float,
) -> torch.Tensor:
    resolution, left = torch.zeros_like(density), tested.clone()
    for level in levels:
        model = local_model(level, voxel)
        variance = noise_variance(density, noise, model)
        statistic = gain_over_constant(density, model, left).cpu().numpy()
        p_values = model.p_values(statistic / max(variance, 1e-300))
        passing = torch.from_numpy(p_values <= false_discovery_limit(p_values, significance)).to(left.device)
        passed = put_at(left, torch.zeros_like(left), passing)
        found = how_many(resolution > 0)
        resolution.masked_fill_(passed, level)
        left &= ~passed
        if not bool(left.any()) or how_many(passed) < _ADDED_AT_LEAST * found:
            break
    return resolution


def false_discovery_limit(p_values: np.ndarray[Any, Any], rate: float) -> float:
    """Return the largest p-value that passes at a false-discovery rate, whatever their dependence; -1 if none.

    Benjamini and Yekutieli, Annals of Statistics 29 (2001).

    Examples
    --------
    >>> false_discovery_limit(np.array([0.001, 0.01, 0.5, 0.9]), 0.05)
    0.01
    """
    ranked = np.sort(p_values[p_values <= rate])
    harmonic = digamma(len(p_values) + 1) - digamma(1)  # 1 + 1/2 + ... + 1/n
    passing = ranked[ranked <= np.arange(1, len(ranked) + 1) * (rate / (len(p_values) * harmonic))]
    return float(passing[-1]) if len(passing) else -1.0


def _grown(inside: torch.Tensor, voxels: int) -> torch.Tensor:
    """Return a mask grown by a number of voxels along each axis."""
    grown = inside[None, None].float()
    for _ in range(voxels):
        grown = torch.nn.functional.max_pool3d(grown, 3, stride=1, padding=1)
    return grown[0, 0] > 0


def _inner_ellipsoid(inside: torch.Tensor, margin: int) -> torch.Tensor:
    """Tell which voxels lie a margin inside the largest ellipsoid of the box (a sphere in a cube)."""
    device = inside.device
    z, y, x = (
        ((torch.arange(n, device=device) - (n - 1) / 2) * (n / (n - 1) / (n / 2 - margin))).square()
        for n in inside.shape
    )
    squared: torch.Tensor = z[:, None, None] + y[None, :, None] + x[None, None, :]
    return squared < 1
