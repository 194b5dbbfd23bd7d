"""One patch: the box of a map that it needs, resampled to a net's voxels, with its target and where that counts.

What a net sees of a map at inference is resampled and normalised as a whole (``run.prepare``). A patch is the same
thing from its neighbourhood alone: a windowed sinc in place of the Fourier series, and the numbers of the whole map.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from emres.errors import UsageError
from emres.model.augment import Augmentation, cropped, placed, vary
from emres.model.contract import working_voxel_size
from emres.model.patch_source import Source
from emres.model.patch_spec import PatchSpec
from emres.volume.blocks import Box
from emres.volume.density import Normalisation
from emres.volume.grid import Grid, Triple, as_shape
from emres.volume.levels import Levels
from emres.volume.local_resample import sinc_matrix, sinc_reach
from emres.volume.resample import Matrix, Sliceable, apply_matrices, linear_matrix, read_box

Array = np.ndarray[Any, Any]
Slices = tuple[slice, slice, slice]


class Patch(NamedTuple):
    """A training sample: four float32 cubes."""

    density: Array
    target: Array
    weight: Array
    pattern: Array


@dataclass(frozen=True)
class CutPlan:
    """What the patches are like.

    Parameters
    ----------
    side : int
        Voxels.
    voxel_size : float, optional
        Å that maps are resampled to; none leaves their own.
    octaves, steps : int
        How many times ``voxel_size`` may be doubled for coarse maps, and how many grids there are an octave.
    margin : int
        Voxels at the faces of a patch that do not count: the net lacks context there.
    augmentation : Augmentation
    normalise : bool
        By the numbers of the whole map; else the density is as it is stored.
    """

    side: int = 32
    voxel_size: float | None = None
    octaves: int = 0
    margin: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    normalise: bool = True
    steps: int = 1

    def __post_init__(self) -> None:
        if self.side < 1 or not 0 <= 2 * self.margin < self.side:
            raise UsageError("a patch has no room", got=f"side {self.side}, margin {self.margin} voxels")
        if self.voxel_size is not None and not (np.isfinite(self.voxel_size) and self.voxel_size > 0):
            raise UsageError("a voxel size is no length", got=f"{self.voxel_size} Å", expected="a positive number")

    def voxel_sizes(self, grid: Grid, lattice: int = 0) -> Triple:
        """Return the voxel size, Å (z, y, x), of the patches of an entry."""
        if self.voxel_size is None or lattice:
            return grid.voxel_size
        size = self.working_voxel_size(grid.mean_voxel_size)
        return (size, size, size)

    def working_voxel_size(self, voxel_size: float) -> float:
        """Return the voxel size, Å, of the patches of a map: its own, or what a model's contract would say."""
        if self.voxel_size is None:
            return voxel_size
        return working_voxel_size(voxel_size, self.voxel_size, self.octaves, self.steps)


def cut(source: Source, spec: PatchSpec, plan: CutPlan, levels: Levels | None = None) -> Patch:
    """Cut one patch.

    Parameters
    ----------
    source : Source
    spec : PatchSpec
    plan : CutPlan
    levels : Levels, optional
        What the local power of the map shows, on the voxels of patches.

    Returns
    -------
    Patch
        Four (side, side, side) float32: density (0 beyond the faces of the map), target in Å, weight: 1 where the
        target counts, and the pattern that the levels show: 0 if there are none.

    Raises
    ------
    UsageError
        If the cubes of a lattice are larger than the patch, or the entry has no such density.
    """
    if spec.density not in source.densities:
        raise UsageError(f"{source.name} has no such density", got=spec.density, expected=", ".join(source.densities))
    varied = plan.augmentation
    context = 0 if source.lattice else varied.context
    density, target, seen = _cube(source, spec, plan) if source.lattice else _box(source, spec, plan, context)
    if varied.varies:
        facts = source.facts[spec.density].spectra, source.finest
        size = float(np.prod(plan.voxel_sizes(source.grid, source.lattice))) ** (1 / 3)
        density = vary(density, target, varied, size, facts, spec.seed, context)
    density, target = _only(density, seen), cropped(target, context)
    weight = _weight(target, source, plan)
    parts = (density, target, weight, _pattern(source, spec, plan, levels))
    return Patch(*(placed(part, spec.turn, spec.mirrored) for part in parts))


def _pattern(source: Source, spec: PatchSpec, plan: CutPlan, levels: Levels | None) -> Array:
    if levels is None:
        return np.zeros((plan.side,) * 3, dtype=np.float32)
    steps = _steps(source, plan)
    starts = _starts(spec, plan, steps, plan.side // 2)
    # The levels lie on the voxels that the whole map has where it is resampled to those of patches.
    return levels.pattern([a / s for a, s in zip(starts, steps, strict=True)], (plan.side,) * 3)


def _steps(source: Source, plan: CutPlan) -> list[float]:
    """Return the voxels of a patch over those of its map."""
    sizes = plan.voxel_sizes(source.grid, source.lattice)
    return [new / old for new, old in zip(sizes, source.grid.voxel_size, strict=True)]


def _starts(spec: PatchSpec, plan: CutPlan, steps: list[float], half: int) -> list[float]:
    """Return the voxel of the map, or the place between voxels, where a patch begins."""
    if plan.voxel_size is None:
        return [round(c) - half for c in spec.centre]
    return [c - half * s for c, s in zip(spec.centre, steps, strict=True)]


def _box(source: Source, spec: PatchSpec, plan: CutPlan, context: int) -> tuple[Array, Array, Slices]:
    """Return density and target round a voxel with their context, and which part of the patch lies in the map."""
    side, half = plan.side + 2 * context, plan.side // 2 + context
    values, steps = source.densities[spec.density], _steps(source, plan)
    native = plan.voxel_size is None
    starts = _starts(spec, plan, steps, half)
    norm = source.facts[spec.density].normalisation if plan.normalise else Normalisation(0.0, 1.0)
    inner = [a + context * s for a, s in zip(starts, steps, strict=True)]
    seen = _seen(source.grid, inner, steps, plan.side)
    if native:
        box = Box(as_shape(starts), as_shape(a + side for a in starts))
        density, target = read_box(values, box, norm.centre), read_box(source.target, box)
        return norm(density) if plan.normalise else density, target, seen
    # What the map goes on with beyond its faces is what it is centred on: 0, once it is normalised.
    density = apply_matrices(*_around(values, starts, steps, side, "sinc", norm.centre))
    target = _target(*_around(source.target, starts, steps, side, "linear"))
    return norm(density) if plan.normalise else density, target, seen


def _around(
    values: Sliceable, starts: list[float], steps: list[float], side: int, kind: str, beyond: float = 0.0
) -> tuple[Array, tuple[Matrix, Matrix, Matrix]]:
    """Return the box that a patch depends on, and the matrices that make the patch of it."""
    reach = [sinc_reach(step) if kind == "sinc" else 1 for step in steps]
    first = [int(np.floor(a)) - r for a, r in zip(starts, reach, strict=True)]
    last = [int(np.floor(a + (side - 1) * s)) + 2 + r for a, s, r in zip(starts, steps, reach, strict=True)]
    z, y, x = (
        _matrix(kind, b - a, side, step, round(start - a, 9))
        for a, b, step, start in zip(first, last, steps, starts, strict=True)
    )
    return read_box(values, Box(as_shape(first), as_shape(last)), beyond), (z, y, x)


@lru_cache(maxsize=64)
def _matrix(kind: str, n: int, m: int, step: float, offset: float) -> Matrix:
    """Return a matrix; the patches of a map share a few, whose centres lie on voxels."""
    return sinc_matrix(n, m, step, offset) if kind == "sinc" else linear_matrix(n, m, step, offset)


def _seen(grid: Grid, starts: list[float], steps: list[float], side: int) -> Slices:
    """Return the voxels of a patch that lie in the box of the map."""
    ranges = []
    for start, step, n in zip(starts, steps, grid.shape, strict=True):
        inside = np.flatnonzero(np.abs((start + np.arange(side) * step) - (n - 1e-6) / 2) <= n / 2)
        ranges.append(slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0))
    z, y, x = ranges
    return z, y, x


def _only(density: Array, seen: Slices) -> Array:
    """Set everything else to 0, as a net pads: kernels and filters reach out a little."""
    if all(part == slice(0, n) for part, n in zip(seen, density.shape, strict=True)):
        return density
    padded = np.zeros_like(density)
    padded[seen] = density[seen]
    return padded


def _target(target: Array, matrices: tuple[Matrix, Matrix, Matrix]) -> Array:
    """Interpolate a target linearly between the voxels that have one; 0 where most of the neighbours have none."""
    if not target.any():
        return np.zeros([len(matrix) for matrix in matrices], dtype=np.float32)
    total = apply_matrices(target, matrices)
    held = target > 0
    if held.all():
        return np.asarray(total)
    share = apply_matrices(held.astype(np.float32), matrices)
    return np.asarray(np.where(share > 0.5, total / np.maximum(share, 0.5), 0), dtype=np.float32)


def _cube(source: Source, spec: PatchSpec, plan: CutPlan) -> tuple[Array, Array, Slices]:
    """Return the cube of a lattice that holds a voxel, in the middle of a patch of zeros."""
    lattice, side = source.lattice, plan.side
    if lattice > side:
        raise UsageError(f"the cubes of {source.name} are larger than a patch", got=f"{side}", expected=f"{lattice}")
    first = [int(c) // lattice * lattice for c in spec.centre]
    box = Box(as_shape(first), as_shape(a + lattice for a in first))
    density, target = read_box(source.densities[spec.density], box), read_box(source.target, box)
    if plan.normalise:
        density = source.facts[spec.density].normalisation(density)
    before = (side - lattice) // 2
    around = [(before, side - lattice - before)] * 3
    return np.pad(density, around), np.pad(target, around), (slice(before, before + lattice),) * 3


def _weight(target: Array, source: Source, plan: CutPlan) -> Array:
    finest, coarsest = source.valid
    weight = ((target > finest) & (target < coarsest)).astype(np.float32)
    seen = source.lattice or plan.side
    edge = (plan.side - seen) // 2 + (plan.margin if 2 * plan.margin < seen else 0)
    if edge:
        counted = np.zeros_like(weight)
        counted[(slice(edge, -edge),) * 3] = 1
        weight *= counted
    return weight
