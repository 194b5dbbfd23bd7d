"""What is in the box beside the model, the same in both halves: solvent, a detergent belt, a stray duplex."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import fft

from emres.simulate.atoms import Atoms
from emres.simulate.density import squared_frequency
from emres.simulate.recipe import Surroundings
from emres.volume.grid import Grid

Array = np.ndarray[Any, Any]

# Solvent and detergent are seen no sharper than this: sigma of a Gaussian, Å.
_BLUR = 3.0
# A bilayer from head to head, and how thick its heads are, Å; density of its tails over that of its heads.
_BILAYER, _HEADS, _TAILS = 38.0, 8.0, 0.35
# Share and length (Å) of the unevenness of a belt.
_UNEVEN, _UNEVEN_LENGTH = 0.35, 9.0
# B-DNA: Å and radians per base pair, radii of phosphates and of bases, Å; Å over which the axis bends.
_RISE, _TWIST, _PHOSPHATE_RADIUS, _BASE_RADIUS, _BEND = 3.4, math.radians(36), 9.0, 3.5, 120.0
_PHOSPHORUS, _CARBON, _OXYGEN = 15, 6, 8
# Atoms of a base pair beside its two phosphorus atoms: (element, how many, radius).
_PAIR = ((_OXYGEN, 8, _PHOSPHATE_RADIUS), (_CARBON, 8, 7.0), (_CARBON, 18, _BASE_RADIUS))
_CLASH = 3.0


def surroundings_spectrum(
    mask: Array, mean_density: float, grid: Grid, around: Surroundings, rng: np.random.Generator
) -> Array:
    """Return the half-complex transform of solvent that is not there and of a detergent belt that is.

    Parameters
    ----------
    mask : (z, y, x) bool
        Where the molecule is.
    mean_density : float
        Of the molecule in its mask.
    grid : Grid
    around : Surroundings
    rng : numpy.random.Generator
        Of the unevenness of the belt.

    Returns
    -------
    (z, y, x // 2 + 1) complex64
    """
    density = mask * np.float32(-around.solvent * mean_density)
    if around.micelle:
        density += belt(mask, grid, around, rng) * np.float32(around.micelle * mean_density)
    spectrum: Array = fft.rfftn(density)
    blur = max(_BLUR, *grid.voxel_size)
    spectrum *= np.exp(squared_frequency(grid) * np.float32(-2 * math.pi**2 * blur**2))
    return spectrum


def belt(mask: Array, grid: Grid, around: Surroundings, rng: np.random.Generator) -> Array:
    """Return a belt of detergent about the molecule, about an axis along z through it.

    Two layers of heads hold one of tails; the rim is rounded; what the molecule fills is left out.

    Returns
    -------
    (z, y, x) float32
        1 in the heads, less in the tails, 0 outside; uneven by a third.
    """
    inside = np.argwhere(mask)
    centre, spread = inside.mean(axis=0), inside.std(axis=0)
    sizes = np.array(grid.voxel_size)
    z, y, x = ((np.arange(n) - c) * s for n, c, s in zip(grid.shape, centre, sizes, strict=True))
    # A disc as wide as the molecule has 2 standard deviations of it to either side.
    lateral = [2 * spread[k] * sizes[k] + around.micelle_width for k in (1, 2)]
    rim = np.hypot(y[:, None] / lateral[0], x[None, :] / lateral[1]).astype(np.float32)
    height = (_BILAYER / 2 * np.sqrt(np.clip(1 - rim**4, 0, None))).astype(np.float32)
    depth = height[None] - np.abs(z)[:, None, None].astype(np.float32)
    layers = np.where(depth < _HEADS, np.float32(1), np.float32(_TAILS)) * ((depth > 0) & ~mask)
    return np.asarray(layers * (1 + np.float32(_UNEVEN) * _uneven(grid, rng)))


def _uneven(grid: Grid, rng: np.random.Generator) -> Array:
    """Return smooth noise of unit variance: (z, y, x) float32."""
    spectrum = fft.rfftn(rng.standard_normal(grid.shape, dtype=np.float32))
    length = max(_UNEVEN_LENGTH, *grid.voxel_size)
    spectrum *= np.exp(squared_frequency(grid) * np.float32(-2 * (math.pi * length / 2) ** 2))
    smooth = fft.irfftn(spectrum, s=grid.shape)
    return np.asarray(smooth / smooth.std(), dtype=np.float32)


def duplex(atoms: Atoms, pairs: int, rng: np.random.Generator) -> Atoms:
    """Return a bent double helix that starts at the molecule's surface and leads away: atoms of its own.

    Phosphates and sugars lie on two strands, bases between them, at places drawn at random: enough for the blobs,
    grooves and strong phosphates that nucleic acid shows, not a model of a sequence. B factors rise along it.

    Parameters
    ----------
    atoms : Atoms
        The molecule; nothing is put within 3 Å of it.
    pairs : int
    rng : numpy.random.Generator

    Returns
    -------
    Atoms
    """
    from scipy.spatial import KDTree

    axis, frames = _axis(atoms, pairs, rng)
    turn = _TWIST * np.arange(pairs)
    kinds = [(_PHOSPHORUS, 2, _PHOSPHATE_RADIUS), *_PAIR]
    rings = [_ring(axis, frames, turn, number, radius, rng) for _, number, radius in kinds]
    counts = [number * pairs for _, number, _ in kinds]
    positions = np.concatenate(rings)
    order = np.concatenate([np.tile(np.arange(pairs), number) for _, number, _ in kinds])
    b_factors = np.median(atoms.b_factors) + 60.0 * order / max(pairs - 1, 1)
    free = KDTree(atoms.positions).query(positions, distance_upper_bound=_CLASH)[0] > _CLASH
    elements = np.repeat([element for element, _, _ in kinds], counts)
    return Atoms(positions, elements, b_factors, np.ones(len(positions))).chosen(free)


def _axis(atoms: Atoms, pairs: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return points along a curve that starts at the surface of the molecule, and two directions across it at each."""
    offset = atoms.positions - atoms.positions.mean(axis=0)
    out = rng.normal(size=3)
    out /= np.linalg.norm(out)
    start = atoms.positions[int(np.argmax(offset @ out))]
    # It leaves along the surface rather than straight out, and bends back towards the molecule.
    across = np.cross(out, rng.normal(size=3))
    across /= np.linalg.norm(across)
    angle = math.pi / 5 - np.arange(pairs) * _RISE / _BEND
    tangents = np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * out
    normals = -np.sin(angle)[:, None] * across + np.cos(angle)[:, None] * out
    points = start + (_PHOSPHATE_RADIUS + _CLASH) * out + _RISE * np.cumsum(tangents, axis=0)
    return points, np.stack([normals, np.cross(tangents, normals)], axis=1)


def _ring(axis: Array, frames: Array, turn: Array, number: int, radius: float, rng: np.random.Generator) -> Array:
    """Return ``number`` atoms about each point of the axis: on two strands far out, spread further in."""
    places = []
    for k in range(number):
        strand = np.pi * 0.8 * (k % 2)  # unequal grooves
        spread = 0.25 if radius >= _PHOSPHATE_RADIUS else 0.6 if radius > _BASE_RADIUS else np.pi
        phase = turn + strand + rng.uniform(-spread, spread, len(axis))
        out = radius + rng.normal(scale=0.8, size=len(axis))
        ring = np.cos(phase)[:, None] * frames[:, 0] + np.sin(phase)[:, None] * frames[:, 1]
        places.append(axis + out[:, None] * ring + rng.normal(scale=0.4, size=axis.shape))
    return np.concatenate(places)
