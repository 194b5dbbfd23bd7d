"""The B factor and the occupancy of every atom: what makes the resolution of a map vary from place to place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from emres.simulate.atoms import Atoms
from emres.simulate.recipe import Motion

Array = np.ndarray[Any, Any]

# Deposited B factors further from their median than this say more about refinement than about motion, Å^2.
_DEPOSITED = (-60.0, 200.0)
# The field must exceed this many standard deviations for a region to fade.
_FADES_ABOVE = 0.7
# The best ordered atoms win back at most this share of the envelope's B factor.
_MOST_ORDERED = 0.7


def moving(atoms: Atoms, motion: Motion, envelope_b: float, rng: np.random.Generator) -> Atoms:
    """Return the atoms with the B factors and occupancies that a recipe's motion gives them.

    Parameters
    ----------
    atoms : Atoms
    motion : Motion
    envelope_b : float
        Å^2 that every atom suffers beside: an atom may move less than the average, but not less than not at all.
    rng : numpy.random.Generator

    Returns
    -------
    Atoms
        B factors about those of the average atom; some are negative.
    """
    b_factors = local_b_factors(atoms, motion, rng)
    lost = motion.fading * (smooth_field(atoms.positions, motion.field_length, rng) > _FADES_ABOVE)
    return Atoms(
        atoms.positions,
        atoms.elements,
        np.maximum(b_factors, -_MOST_ORDERED * envelope_b),
        atoms.occupancies * (1 - lost),
    )


def local_b_factors(atoms: Atoms, motion: Motion, rng: np.random.Generator) -> Array:
    """Return the sum of what the deposited B factors, the radius, a smooth field and swinging domains add: (n,) Å^2."""
    deposited = np.clip(atoms.b_factors - np.median(atoms.b_factors), *_DEPOSITED)
    offset = atoms.positions - atoms.positions.mean(axis=0)
    radius = np.linalg.norm(offset, axis=1)
    radial = (radius / max(float(radius.max()), 1e-6)) ** 2
    field = smooth_field(atoms.positions, motion.field_length, rng)
    total = motion.deposited * deposited + motion.radial * radial + motion.field * field
    for _ in range(motion.domains):
        total += motion.domain_b * swing(offset, rng)
    return np.asarray(total)


def smooth_field(positions: Array, length: float, rng: np.random.Generator, waves: int = 24) -> Array:
    """Return a Gaussian random field of unit variance at positions: a sum of plane waves about one length (Å)."""
    directions = rng.normal(size=(waves, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    vectors = directions * (2 * np.pi / (length * rng.uniform(0.8, 3, size=(waves, 1))))
    phases = rng.uniform(0, 2 * np.pi, waves)
    return np.asarray(math.sqrt(2 / waves) * np.cos(positions @ vectors.T + phases).sum(axis=1))


def swing(offset: Array, rng: np.random.Generator) -> Array:
    """Return how much each atom takes part in the swing of one end of the molecule, 0 to 1.

    A rigid domain that rocks about a hinge moves by an angle times the distance, so its B factors rise with the square
    of the distance from the plane of the hinge. Which way, and how much of the molecule, is drawn.

    Parameters
    ----------
    offset : (n, 3) Å
        From the middle of the molecule.
    rng : numpy.random.Generator
    """
    direction = rng.normal(size=3)
    along = offset @ (direction / np.linalg.norm(direction))
    hinge = float(np.quantile(along, rng.uniform(0.55, 0.85)))
    beyond = np.maximum(along - hinge, 0)
    return np.asarray((beyond / max(float(beyond.max()), 1e-6)) ** 2)
