"""Half maps whose local resolution is known to vary, from atoms and a recipe of numbers.

Signal: every atom is smeared by its own B factor, so some regions fade at coarser resolutions than others; solvent,
detergent and nucleic acid lie about it; an experiment's envelope weakens all of it. Noise: two independent
draws with power ~ frequency^p, as strong as makes the FSC in the molecule cross 0.143 at the recipe's resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import fft

from emres.errors import UsageError
from emres.simulate.atoms import Atoms, crowd
from emres.simulate.b_factors import moving
from emres.simulate.box import box_round
from emres.simulate.density import MASK_SIGMA, molecule_mask, scattering_spectrum, squared_frequency
from emres.simulate.envelope import envelope_gain
from emres.simulate.noise import draw_noise, noise_gain, noise_scale
from emres.simulate.recipe import Recipe
from emres.simulate.surroundings import duplex, surroundings_spectrum
from emres.simulate.symmetry import copies, symmetrised
from emres.volume.grid import Grid

Array = np.ndarray[Any, Any]

# Volumes of float32 that a simulation holds at its worst moment, the two half maps with it (measured: benchmarks).
VOLUMES = 8
# Streams of random numbers: one for each theme, so that more of one thing does not change another.
_CROWD, _DUPLEX, _MOTION, _BELT, _AXIS, _NOISE = range(6)
# The edge of a particle's sphere, Å.
_SPHERE_EDGE = 6.0


@dataclass(frozen=True)
class HalfMaps:
    """Two simulated half maps.

    Parameters
    ----------
    half_map_1, half_map_2 : (z, y, x) float32
    mask : (z, y, x) bool
        Where the molecule is.
    grid : Grid
        In the coordinates of the model.
    recipe : Recipe
    """

    half_map_1: Array
    half_map_2: Array
    mask: Array
    grid: Grid
    recipe: Recipe


@dataclass(frozen=True)
class Signal:
    """What both halves of a simulation share.

    Parameters
    ----------
    density : (z, y, x) float32
        Without noise.
    mask : (z, y, x) bool
        Where the molecule is.
    noise_scale : float
        Factor on `noise_gain`.
    grid : Grid
    recipe : Recipe
    """

    density: Array
    mask: Array
    noise_scale: float
    grid: Grid
    recipe: Recipe


def simulate_half_maps(atoms: Atoms, recipe: Recipe, *, memory_bytes: int | None = None) -> HalfMaps:
    """Simulate two half maps of an atomic model.

    Parameters
    ----------
    atoms : Atoms
        See `read_atoms`.
    recipe : Recipe
        It holds the seed: the same recipe gives the same bytes.
    memory_bytes : int, optional
        What may be used; what the machine has free by default.

    Returns
    -------
    HalfMaps
        Their plain average and its processing are left to `deposit`.

    Raises
    ------
    UsageError
        If the box of the recipe is too small for the model, or would not fit in memory.
    """
    return add_noise(simulate_signal(atoms, recipe, memory_bytes=memory_bytes))


def simulate_signal(atoms: Atoms, recipe: Recipe, *, memory_bytes: int | None = None) -> Signal:
    """Simulate what both half maps share, and how strong their noise will be.

    Parameters, errors : as `simulate_half_maps`.

    Returns
    -------
    Signal
    """
    particle, grid = assemble(atoms, recipe)
    check_memory(grid, memory_bytes)
    mask = molecule_mask(particle, grid, max(MASK_SIGMA, recipe.resolution / 4))
    spectrum = scattering_spectrum(particle, grid)
    _surround(spectrum, mask, grid, recipe)
    spectrum *= envelope_gain(squared_frequency(grid), recipe.envelope, 0.5 / recipe.voxel_size)
    gain = noise_gain(grid, recipe.noise, _axis(recipe))
    scale = noise_scale(spectrum, gain, grid, recipe.resolution, float(mask.mean()))
    density = fft.irfftn(spectrum, s=grid.shape, overwrite_x=True)
    return Signal(np.asarray(density, dtype=np.float32), mask, scale, grid, recipe)


def add_noise(signal: Signal, draw: int = 0) -> HalfMaps:
    """Return the two half maps of a signal.

    Parameters
    ----------
    signal : Signal
    draw : int
        Which pair of half maps: 0 is the recipe's; others show the same object with other noise.

    Returns
    -------
    HalfMaps
    """
    recipe, grid = signal.recipe, signal.grid
    rng = np.random.default_rng([recipe.seed, _NOISE, draw])
    gain = noise_gain(grid, recipe.noise, _axis(recipe))
    gain *= np.float32(signal.noise_scale)
    halves = [draw_noise(grid, gain, recipe.symmetry, rng) for _ in range(2)]
    particle = sphere(signal.mask, grid, recipe.framing.padding) if recipe.framing.sphere else np.float32(1)
    for half in halves:
        half += signal.density
        half *= particle
    return HalfMaps(halves[0], halves[1], signal.mask, grid, recipe)


def assemble(atoms: Atoms, recipe: Recipe) -> tuple[Atoms, Grid]:
    """Return every atom of the particle, moving as the recipe says, and the box round it.

    Raises
    ------
    UsageError
        If the recipe's own box is too small.
    """
    if recipe.crowd > 1:
        thinning = max(1.0, recipe.voxel_size / 1.5) ** 2
        atoms = crowd(atoms, recipe.crowd, thinning, _rng(recipe, _CROWD))
    if recipe.surroundings.nucleic:
        atoms = atoms.joined(duplex(atoms, recipe.surroundings.nucleic, _rng(recipe, _DUPLEX)))
    atoms = moving(atoms, recipe.motion, recipe.envelope.b_factor, _rng(recipe, _MOTION))
    atoms, _ = copies(atoms, recipe.symmetry)
    framing = recipe.framing
    cubic = framing.cubic or recipe.symmetry != "C1"
    grid = box_round(
        atoms, recipe.voxel_size, padding=framing.padding, shape=framing.shape, cubic=cubic, odd=framing.odd
    )
    return atoms, grid


def _rng(recipe: Recipe, stream: int) -> np.random.Generator:
    return np.random.default_rng([recipe.seed, stream])


def _axis(recipe: Recipe) -> Array:
    """Return where the noise is strongest: anywhere, but along z where there is symmetry about it."""
    if recipe.symmetry != "C1":
        return np.array([1.0, 0.0, 0.0])
    axis = _rng(recipe, _AXIS).normal(size=3)
    return np.asarray(axis / np.linalg.norm(axis))


def check_memory(grid: Grid, memory_bytes: int | None = None) -> None:
    """Refuse a box that would not fit in memory.

    Raises
    ------
    UsageError
        With the bytes needed and the bytes there are.
    """
    if memory_bytes is None:
        import psutil

        memory_bytes = int(psutil.virtual_memory().available)
    needed = VOLUMES * 4 * grid.voxels
    if needed > memory_bytes:
        raise UsageError(
            f"a box of {' x '.join(map(str, grid.shape))} voxels does not fit in memory",
            got=f"{memory_bytes / 2**30:.3g} GiB",
            expected=f"{needed / 2**30:.3g} GiB",
            cure="make the voxels larger, or use a machine with more memory",
        )


def _surround(spectrum: Array, mask: Array, grid: Grid, recipe: Recipe) -> None:
    """Add solvent and detergent to the molecule's transform, in place."""
    mean_density = float(spectrum[0, 0, 0].real) / float(mask.sum())
    around = surroundings_spectrum(mask, mean_density, grid, recipe.surroundings, _rng(recipe, _BELT))
    if recipe.surroundings.micelle and recipe.symmetry != "C1":
        around = fft.rfftn(symmetrised(fft.irfftn(around, s=grid.shape), recipe.symmetry))
    spectrum += around


def sphere(mask: Array, grid: Grid, padding: float) -> Array:
    """Return a ball about the middle of the box that holds the molecule, with a soft edge: (z, y, x) float32."""
    centre = (np.array(grid.shape) - 1) / 2
    sizes = np.array(grid.voxel_size)
    corners = np.argwhere(mask.any(axis=0)), np.argwhere(mask.any(axis=2))
    across = np.linalg.norm((corners[0] - centre[1:]) * sizes[1:], axis=1).max()
    up = np.abs((corners[1][:, 0] - centre[0]) * sizes[0]).max()
    radius = float(max(across, up)) + 0.4 * padding
    axes = (((np.arange(n) - c) * s) ** 2 for n, c, s in zip(grid.shape, centre, sizes, strict=True))
    z, y, x = (axis.astype(np.float32) for axis in axes)
    distance = np.sqrt(z[:, None, None] + y[:, None] + x)
    fall = np.clip((distance - np.float32(radius)) / np.float32(max(_SPHERE_EDGE, 3 * max(grid.voxel_size))), 0, 1)
    return np.asarray(np.float32(0.5) + np.float32(0.5) * np.cos(np.float32(np.pi) * fall))
