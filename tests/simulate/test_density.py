"""Atoms become density where they are, as much as they weigh, as wide as they move."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emres.simulate.atoms import Atoms, centred
from emres.simulate.density import scattering_density
from emres.volume.grid import Grid


def one_atom(position: tuple[float, float, float], b_factor: float = 60.0) -> Atoms:
    return Atoms(np.array([position]), np.array([6]), np.array([b_factor]), np.array([1.0]))


def test_density_lies_where_the_atom_is() -> None:
    grid = Grid((24, 28, 32), (1.5,) * 3, origin=(10.0, -5.0, 0.0))
    density = scattering_density(one_atom(grid.to_angstrom((7, 11, 20))), grid)
    assert np.unravel_index(density.argmax(), density.shape) == (7, 11, 20)


def test_the_sum_of_density_knows_no_b_factor_and_no_voxel_size() -> None:
    """Scattering at frequency 0 is a property of the atom alone."""
    sums = [
        float(scattering_density(one_atom((18, 18, 18), b), Grid((n, n, n), (36 / n,) * 3)).sum()) * (36 / n) ** 3
        for b, n in [(20, 24), (80, 24), (200, 24), (80, 36)]
    ]
    np.testing.assert_allclose(sums, sums[0], rtol=0.01)
    assert sums[0] == pytest.approx(2.51, rel=0.01)  # carbon, International Tables


def test_b_factor_acts_as_a_gaussian_in_fourier_space() -> None:
    grid = Grid((32, 32, 32), (1.5,) * 3)
    narrow, wide = (np.fft.rfftn(scattering_density(one_atom((24, 24, 24), b), grid)) for b in (40, 160))
    frequency = 8 / 48  # of coefficient 8, 1/Å
    assert abs(wide[8, 0, 0] / narrow[8, 0, 0]) == pytest.approx(np.exp(-120 * frequency**2 / 4), rel=0.02)


def test_narrow_atoms_do_not_alias(globule: Atoms) -> None:
    """Half a voxel's shift moves the density and changes nothing else: its power stays."""
    grid = Grid((32, 32, 32), (1.5,) * 3)
    sharp = replace(globule, b_factors=np.full(len(globule), 5.0))
    here = centred(sharp, grid)
    power = [
        float((scattering_density(replace(here, positions=here.positions + shift), grid) ** 2).sum())
        for shift in (0.0, 0.75)
    ]
    assert power[0] == pytest.approx(power[1], rel=5e-3)
