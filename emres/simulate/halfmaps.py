"""Half maps whose local resolution is known to vary, from atoms and a recipe of numbers.

Signal: every atom is smeared by its own B factor = global + deposited + radial + a smooth random field, so some regions
fade at coarser resolutions than others. Noise: two independent draws with power ~ frequency^p, as strong as
the signal where the global FSC is to cross 0.143. All lengths in a recipe scale with the voxel size: the same recipe
at 3 Å describes an object twice as large, seen at half the resolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import fft, ndimage

from emres.simulate.atoms import Atoms, centred, scattering_density, squared_frequency
from emres.volume.grid import Grid

Array = np.ndarray[Any, Any]

# FSC = signal / (signal + noise) = 0.143 where the noise of a half map is six times the signal.
NOISE_OVER_SIGNAL = 1 / 0.143 - 1


@dataclass(frozen=True)
class Recipe:
    """What a simulated map is like; two equal recipes give the same bytes.

    Parameters
    ----------
    seed : int
        Of the random field and of the noise.
    voxel_size : float
        Å.
    resolution : float
        Voxels; where the FSC of the molecule is to cross 0.143.
    decay : float
        Global B factor in units of resolution^2.
    deposited : float
        Weight of the model's own B factors (relative to their median).
    radial : float
        B added at the outermost atom, in units of resolution^2.
    wander, wavelength : float
        Strength of the smooth random B field, in units of resolution^2, and its length in voxels.
    fading : float
        Share of the occupancy that the regions of a second such field lose.
    noise_power : float
        Exponent p of the noise power ~ frequency^p.
    solvent : float
        Density of the solvent over the molecule's mean.
    native : float
        Voxel size of the reconstruction in working voxels; above 1 nothing remains beyond its Nyquist frequency.
    padding : int
        Voxels of solvent round the molecule.
    """

    seed: int
    voxel_size: float = 1.5
    resolution: float = 3.0
    decay: float = 8.0
    deposited: float = 1.0
    radial: float = 2.0
    wander: float = 4.0
    wavelength: float = 20.0
    fading: float = 0.0
    noise_power: float = 0.5
    solvent: float = 0.3
    native: float = 1.0
    padding: int = 14


@dataclass(frozen=True)
class HalfMaps:
    """Two simulated half maps.

    Parameters
    ----------
    half_map_1, half_map_2 : (z, y, x) float32
    mask : (z, y, x) bool
        Where the molecule is.
    grid : Grid
    recipe : Recipe
    """

    half_map_1: Array
    half_map_2: Array
    mask: Array
    grid: Grid
    recipe: Recipe


def draw_recipe(seed: int, voxel_size: float = 1.5) -> Recipe:
    """Draw a recipe at random.

    Parameters
    ----------
    seed : int
    voxel_size : float
        Å.

    Returns
    -------
    Recipe
        Crossings at 1.1 to 5 voxels (local resolutions of 2 to 7), evenly in logarithm. A third of the maps hold
        nothing in the last shells, as maps do whose own voxels are coarser than the working grid's.
    """
    rng = np.random.default_rng(seed)
    native = float(rng.uniform(1.05, 1.9)) if rng.random() < 0.35 else 1.0
    return Recipe(
        seed=seed,
        voxel_size=voxel_size,
        resolution=float(np.exp(rng.uniform(math.log(1.1 * native), math.log(5.0)))),
        decay=float(rng.uniform(3, 11)),
        deposited=float(rng.uniform(0, 2)),
        radial=float(rng.uniform(0, 9)),
        wander=float(rng.uniform(1, 14)),
        wavelength=float(rng.uniform(10, 36)),
        fading=float(rng.uniform(0.2, 0.9)) if rng.random() < 0.3 else 0.0,
        noise_power=float(rng.uniform(0, 1.3)),
        solvent=float(rng.uniform(0, 0.5)),
        native=native,
        padding=int(rng.integers(10, 20)),
    )


def simulate_half_maps(atoms: Atoms, recipe: Recipe) -> HalfMaps:
    """Simulate two half maps of an atomic model.

    Parameters
    ----------
    atoms : Atoms
    recipe : Recipe

    Returns
    -------
    HalfMaps
        The box fits the molecule with the recipe's padding; sides are multiples of 4 voxels.
    """
    rng = np.random.default_rng(recipe.seed)
    grid = box_round(atoms, recipe)
    atoms = centred(atoms, grid)
    mask = molecule(atoms, grid)
    b_factors = local_b_factors(atoms, recipe, rng)
    faded = _smooth_field(atoms.positions / recipe.voxel_size, recipe.wavelength, rng) > 0.7
    occupancies = atoms.occupancies * (1 - recipe.fading * faded)
    signal = scattering_density(replace(atoms, b_factors=b_factors, occupancies=occupancies), grid)
    signal -= _solvent(mask, signal, recipe)
    square = squared_frequency(grid)
    amplitude = _noise_amplitude(signal, mask, square, recipe)
    kept = _native_frequencies(grid, recipe)
    halves = [_band(signal, kept) + _noise(rng, grid, amplitude * kept) for _ in range(2)]
    return HalfMaps(halves[0], halves[1], mask, grid, recipe)


def box_round(atoms: Atoms, recipe: Recipe) -> Grid:
    """Return the grid of a box round the atoms."""
    sides = np.ptp(atoms.positions, axis=0) / recipe.voxel_size + 2 * recipe.padding
    z, y, x = (4 * math.ceil(side / 4) for side in sides)
    return Grid((z, y, x), (recipe.voxel_size,) * 3)


def molecule(atoms: Atoms, grid: Grid) -> Array:
    """Return where the molecule is: within about 2.5 voxels of an atom, small holes closed. (z, y, x) bool."""
    index = np.rint((atoms.positions - np.array(grid.origin)) / np.array(grid.voxel_size)).astype(int)
    occupied = np.zeros(grid.shape, dtype=bool)
    occupied[tuple(np.clip(index, 0, np.array(grid.shape) - 1).T)] = True
    return np.asarray(ndimage.binary_closing(ndimage.distance_transform_edt(~occupied) <= 2.5, iterations=2))


def local_b_factors(atoms: Atoms, recipe: Recipe, rng: np.random.Generator) -> Array:
    """Return the B factor of every atom, Å^2: the sum that makes the local resolution vary."""
    unit = (recipe.resolution * recipe.voxel_size) ** 2
    octave = (recipe.voxel_size / 1.5) ** 2
    deposited = np.clip(atoms.b_factors - np.median(atoms.b_factors), -50, 150) * octave
    offset = atoms.positions - atoms.positions.mean(axis=0)
    radius = np.linalg.norm(offset, axis=1)
    share = (radius / max(float(radius.max()), 1e-6)) ** 2
    field = _smooth_field(atoms.positions / recipe.voxel_size, recipe.wavelength, rng)
    total = unit * (recipe.decay + recipe.radial * share + recipe.wander * field) + recipe.deposited * deposited
    return np.asarray(np.maximum(total, 1.5 * unit))


def _smooth_field(positions: Array, wavelength: float, rng: np.random.Generator, waves: int = 24) -> Array:
    """Return a Gaussian random field of unit variance at positions: a sum of plane waves about one length."""
    directions = rng.normal(size=(waves, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    vectors = directions * (2 * np.pi / (wavelength * rng.uniform(0.8, 3, size=(waves, 1))))
    phases = rng.uniform(0, 2 * np.pi, waves)
    return np.asarray(math.sqrt(2 / waves) * np.cos(positions @ vectors.T + phases).sum(axis=1))


def _solvent(mask: Array, signal: Array, recipe: Recipe) -> Array:
    """Return the flat density that the molecule displaces, with a soft edge."""
    edge = ndimage.gaussian_filter(mask.astype(np.float32), max(2.0, recipe.resolution / 2))
    return np.asarray(recipe.solvent * float(signal[mask].mean()) * edge, dtype=np.float32)


def _noise_amplitude(signal: Array, mask: Array, square: Array, recipe: Recipe) -> Array:
    """Return the noise's amplitude at every coefficient, for white noise of unit variance in real space."""
    crossing = 1 / (recipe.resolution * recipe.voxel_size)
    # A crossing beyond the Nyquist frequency cannot be seen: the power there follows from the global B factor.
    seen = min(crossing, 0.45 / recipe.voxel_size)
    shell = np.abs(np.sqrt(square) - seen) < 0.08 * seen
    power = float((np.abs(fft.rfftn(signal)[shell]) ** 2).mean()) / signal.size
    power *= math.exp(-recipe.decay / 2 * (1 - (seen / crossing) ** 2))
    # The noise fills the box, the signal only the molecule: inside it, signal per volume is higher by that share.
    at_crossing = NOISE_OVER_SIGNAL * power / float(mask.mean())
    frequency = np.sqrt(np.maximum(square, float(square[square > 0].min())))
    inside = square <= (0.5 / recipe.voxel_size) ** 2
    amplitude = np.sqrt(at_crossing * (frequency / crossing) ** recipe.noise_power) * inside
    return np.asarray(amplitude, dtype=np.float32)


def _native_frequencies(grid: Grid, recipe: Recipe) -> Array:
    """Return 1 inside the Nyquist cube of the reconstruction's own voxels, 0 outside."""
    limit = 0.5 / (recipe.native * recipe.voxel_size) + 1e-6
    z, y = (np.abs(np.fft.fftfreq(grid.shape[k], grid.voxel_size[k])) <= limit for k in (0, 1))
    x = np.fft.rfftfreq(grid.shape[2], grid.voxel_size[2]) <= limit
    return np.asarray(z[:, None, None] & y[None, :, None] & x[None, None, :], dtype=np.float32)


def _band(values: Array, gain: Array) -> Array:
    return np.asarray(fft.irfftn(fft.rfftn(values) * gain, s=values.shape), dtype=np.float32)


def _noise(rng: np.random.Generator, grid: Grid, amplitude: Array) -> Array:
    return _band(rng.standard_normal(grid.shape, dtype=np.float32), amplitude)
