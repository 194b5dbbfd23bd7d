"""What lies about the model: solvent, a belt, a duplex; and what an experiment's envelope leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import KDTree

from emres.simulate.atoms import Atoms
from emres.simulate.density import squared_frequency
from emres.simulate.envelope import averaged_contrast, envelope_gain
from emres.simulate.halfmaps import simulate_signal
from emres.simulate.recipe import Envelope, Recipe, Surroundings
from emres.simulate.surroundings import duplex
from emres.volume.grid import Grid

RECIPE = replace(
    Recipe(seed=1).at(resolution=6.0, voxel_size=2.0),
    envelope=Envelope(b_factor=50.0, ctf="none", detector=1.0),
    surroundings=Surroundings(solvent=0.0),
)


def with_surroundings(globule: Atoms, **options: float | int) -> tuple[np.ndarray, np.ndarray]:
    signal = simulate_signal(globule, replace(RECIPE, surroundings=Surroundings(**{"solvent": 0.0, **options})))  # type: ignore[arg-type]
    return signal.density, signal.mask


def test_solvent_lowers_the_molecule_by_its_share(globule: Atoms) -> None:
    bare, mask = with_surroundings(globule)
    wet, _ = with_surroundings(globule, solvent=0.4)
    core = ndimage.binary_erosion(mask, iterations=4)
    assert (bare - wet)[core].mean() / bare[mask].mean() == pytest.approx(0.4, abs=0.05)


def test_a_belt_lies_round_the_molecule_and_not_above_it(globule: Atoms) -> None:
    bare, mask = with_surroundings(globule)
    belted, _ = with_surroundings(globule, micelle=0.6)
    added = (belted - bare) / bare[mask].mean()
    centre = np.argwhere(mask).mean(axis=0).astype(int)
    beside = added[centre[0], centre[1], centre[2] + 11]  # 22 Å off: 8 Å beyond the ball
    above = added[centre[0] + 14, centre[1], centre[2]]
    assert 0.1 < beside < 1.2
    assert abs(above) < 0.05
    assert abs(added[mask].mean()) < 0.25


def test_a_duplex_starts_at_the_molecule_and_leads_away_without_clash(globule: Atoms) -> None:
    stray = duplex(globule, 20, np.random.default_rng(0))
    distance = KDTree(globule.positions).query(stray.positions)[0]
    assert 3.0 <= distance.min() < 12
    assert distance.max() > 20
    assert 20 * 25 < len(stray) <= 20 * 36
    assert (stray.elements == 15).sum() == pytest.approx(40, abs=8)
    assert stray.b_factors[np.argmax(distance)] > stray.b_factors[np.argmin(distance)]


def test_the_envelope_is_a_b_factor_times_contrast_times_detector() -> None:
    grid = Grid((32, 32, 32), (1.0,) * 3)
    square = squared_frequency(grid)
    plain = envelope_gain(square, Envelope(100.0, "none", detector=1.0), 0.5)
    np.testing.assert_allclose(plain, np.exp(-25 * square), rtol=1e-4)
    worn = envelope_gain(square, Envelope(100.0, "none", detector=0.4), 0.5)
    assert worn[16, 0, 0] / plain[16, 0, 0] == pytest.approx(0.4, rel=1e-3)
    assert worn[0, 0, 0] == pytest.approx(1)


def test_averaging_over_defoci_leaves_what_theory_says() -> None:
    """Where the phase runs through many turns, mean |sin| is 2/pi and mean sin^2 is 1/2."""
    high = np.linspace(0.3, 0.45, 50)
    flipped = averaged_contrast(high, Envelope(ctf="flipped", defocus=(8000.0, 25000.0)))
    np.testing.assert_allclose(flipped, 2 / np.pi, atol=0.03)
    wiener = averaged_contrast(high, Envelope(ctf="wiener", defocus=(8000.0, 25000.0)))
    np.testing.assert_allclose(wiener, 0.5 / 0.6 * 1.1, atol=0.03)
    low = averaged_contrast(np.array([0.0]), Envelope(ctf="flipped"))
    assert low[0] == pytest.approx(0.1, rel=1e-3)  # amplitude contrast alone
