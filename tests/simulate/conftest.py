from __future__ import annotations

import numpy as np
import pytest

from emres.simulate.atoms import Atoms


def ball(radius: float, centre: tuple[float, float, float], b_factor: float, seed: int) -> Atoms:
    """Carbons, nitrogens and oxygens packed in a ball like a protein: one in 20 Å^3."""
    rng = np.random.default_rng(seed)
    count = round(8 * radius**3 / 20)
    positions = rng.uniform(-radius, radius, size=(count, 3))
    positions = positions[np.linalg.norm(positions, axis=1) < radius] + np.array(centre)
    n = len(positions)
    return Atoms(positions, rng.choice([6, 6, 6, 7, 8], n), np.full(n, b_factor), np.ones(n))


@pytest.fixture(scope="session")
def globule() -> Atoms:
    """A ball of some 570 atoms whose B factors differ."""
    atoms = ball(14.0, (0.0, 0.0, 0.0), 0.0, seed=5)
    b_factors = np.random.default_rng(6).uniform(10, 40, len(atoms))
    return Atoms(atoms.positions, atoms.elements, b_factors, atoms.occupancies)
