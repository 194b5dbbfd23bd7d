"""Atoms become density where they are, as much as they weigh, as wide as they move."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from periodictable.cromermann import fxrayatstol
from scipy import ndimage

from emres.errors import UsageError
from emres.simulate.atoms import Atoms, centred
from emres.simulate.box import box_round
from emres.simulate.density import molecule_mask, plain_map, scattering_density, squared_frequency
from emres.volume.grid import Grid

# Mott and Bethe: f_e = 0.0239337 (Z - f_x) / (sin(theta)/lambda)^2, Å (International Tables C, 4.3.1).
MOTT_BETHE = 0.0239337


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


def direct_sum(atoms: Atoms, grid: Grid, b_factors: np.ndarray) -> np.ndarray:
    """Sum structure factors atom by atom: X-ray form factors of periodictable (Waasmaier and Kirfel), Mott and Bethe.

    Neither the method nor the numbers are those of the package, which draws gemmi's Gaussians on a grid.
    """
    symbols = {6: "C", 7: "N", 8: "O"}
    axes = (np.fft.fftfreq(n, size) for n, size in zip(grid.shape[:2], grid.voxel_size[:2], strict=True))
    z, y, x = np.meshgrid(*axes, np.fft.rfftfreq(grid.shape[2], grid.voxel_size[2]), indexing="ij")
    square = z**2 + y**2 + x**2
    total = np.zeros(square.shape, dtype=complex)
    theta_over_lambda = np.maximum(np.sqrt(square) / 2, 0.01)
    for number, symbol in symbols.items():
        x_ray = np.array(fxrayatstol(symbol, theta_over_lambda.ravel())).reshape(square.shape)
        form = MOTT_BETHE * (number - x_ray) / theta_over_lambda**2
        for k in np.flatnonzero(atoms.elements == number):
            dz, dy, dx = atoms.positions[k] - np.array(grid.origin)
            phase = np.exp(-2j * np.pi * (z * dz + y * dy + x * dx))
            total += form * atoms.occupancies[k] * np.exp(-b_factors[k] * square / 4) * phase
    return total


@pytest.fixture(scope="module")
def small_box(globule: Atoms) -> tuple[Atoms, Grid]:
    few = globule.chosen(np.arange(150))
    return few, box_round(few, 1.2, padding=4.0)


def errors_by_shell(ours: np.ndarray, theirs: np.ndarray, grid: Grid) -> list[float]:
    """Return |ours - theirs| over |theirs| in shells from 10 Å to Nyquist.

    Below, Mott and Bethe's difference of two nearly equal numbers says little about the tables.
    """
    square = squared_frequency(grid)
    shells = [(square >= low**2) & (square < high**2) for low, high in ((0.1, 0.2), (0.2, 0.3), (0.3, 0.416))]
    return [float(np.sqrt((abs(ours - theirs)[at] ** 2).sum() / (abs(theirs[at]) ** 2).sum())) for at in shells]


def test_the_plain_map_agrees_with_an_independent_sum(small_box: tuple[Atoms, Grid]) -> None:
    """Measured: 0.44 %, 0.20 % and 0.11 % of the amplitude."""
    atoms, grid = small_box
    ours = np.fft.rfftn(plain_map(atoms, grid, 3.0)) * np.prod(grid.voxel_size)
    theirs = direct_sum(atoms, grid, np.full(len(atoms), 4 * 3.0**2))
    np.testing.assert_array_less(errors_by_shell(ours, theirs, grid), [0.006, 0.004, 0.004])


def test_the_scattering_density_agrees_with_an_independent_sum(small_box: tuple[Atoms, Grid]) -> None:
    """B factors far apart: atoms are drawn in groups, and the groups add up."""
    atoms, grid = small_box
    atoms = replace(atoms, b_factors=np.linspace(-20, 700, len(atoms)))
    ours = np.fft.rfftn(scattering_density(atoms, grid)) * np.prod(grid.voxel_size)
    theirs = direct_sum(atoms, grid, atoms.b_factors)
    np.testing.assert_array_less(errors_by_shell(ours, theirs, grid), [0.006, 0.004, 0.004])


def test_the_plain_map_has_fallen_to_1_over_e_at_its_resolution() -> None:
    """The definition of molmap and pdb2mrc, against the same atom at another resolution."""
    grid = Grid((48, 48, 48), (1.0,) * 3)
    fine, coarse = (np.abs(np.fft.rfftn(plain_map(one_atom((24, 24, 24)), grid, r))) for r in (2.0, 6.0))
    at = 8  # 8/48 1/Å: 6 Å
    assert coarse[at, 0, 0] / fine[at, 0, 0] == pytest.approx(np.exp(-1) / np.exp(-(2**2) / 6**2), rel=1e-3)


def test_the_plain_map_refuses_what_it_cannot_show(globule: Atoms) -> None:
    grid = box_round(globule, 2.0)
    with pytest.raises(UsageError, match=r"too coarse for the resolution: got 2 Å voxels for 3 Å"):
        plain_map(globule, grid, 3.0)
    with pytest.raises(UsageError, match="too small for the model"):
        plain_map(globule, Grid((12, 12, 12), (2.0,) * 3), 5.0)


def test_the_mask_is_one_piece_without_holes_a_little_beyond_the_atoms(globule: Atoms) -> None:
    grid = box_round(globule, 1.0)
    mask = molecule_mask(globule, grid)
    assert ndimage.label(mask)[1] == 1
    assert ndimage.label(~mask)[1] == 1
    index = np.rint((globule.positions - np.array(grid.origin)) / 1.0).astype(int)
    assert mask[tuple(index.T)].all()
    beyond = mask & (ndimage.distance_transform_edt(~mask_of(index, grid)) > 6)
    assert not beyond.any()


def mask_of(index: np.ndarray, grid: Grid) -> np.ndarray:
    occupied = np.zeros(grid.shape, dtype=bool)
    occupied[tuple(index.T)] = True
    return occupied
