from __future__ import annotations

import numpy as np
import pytest

from emres.simulate.atoms import Atoms


@pytest.fixture(scope="session")
def globule() -> Atoms:
    """A ball of 600 carbons and oxygens, packed like a protein."""
    rng = np.random.default_rng(5)
    positions = rng.uniform(-15, 15, size=(1500, 3))
    positions = positions[np.linalg.norm(positions, axis=1) < 14][:600]
    count = len(positions)
    return Atoms(positions, rng.choice([6, 8], count), rng.uniform(10, 40, count), np.ones(count))
