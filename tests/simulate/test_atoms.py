"""Atoms become density where they are, as much as they weigh, as wide as they move."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emres.errors import MapError, UsageError
from emres.simulate.atoms import Atoms, centred, crowd, read_atoms, scattering_density
from emres.volume.grid import Grid

PDB = """\
ATOM      1  N   ALA A   1      11.000  22.000  33.000  1.00 15.00           N
ATOM      2  CA  ALA A   1      12.000  23.000  34.000  0.50 25.00           C
ATOM      3  H   ALA A   1      12.500  23.000  34.000  1.00 25.00           H
HETATM    4  O   HOH A   2       1.000   2.000   3.000  1.00 30.00           O
END
"""


def one_atom(position: tuple[float, float, float], b_factor: float = 60.0) -> Atoms:
    return Atoms(np.array([position]), np.array([6]), np.array([b_factor]), np.array([1.0]))


@pytest.mark.parametrize("suffix", [".pdb", ".pdb.gz"])
def test_atoms_are_read_as_zyx_without_hydrogen_and_water(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(gzip.compress(PDB.encode()) if suffix.endswith("gz") else PDB.encode())
    atoms = read_atoms(path)
    np.testing.assert_allclose(atoms.positions, [[33, 22, 11], [34, 23, 12]])
    assert atoms.elements.tolist() == [7, 6]
    assert atoms.b_factors.tolist() == [15, 25]
    assert atoms.occupancies.tolist() == [1, 0.5]


@pytest.mark.parametrize("content", [b"", b"nothing here", b"\x1f\x8b broken"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pdb"
    path.write_bytes(content)
    with pytest.raises(MapError):
        read_atoms(path)


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


def test_flat_voxels_are_refused() -> None:
    with pytest.raises(UsageError, match="cubic"):
        scattering_density(one_atom((0, 0, 0)), Grid((8, 8, 8), (1.0, 1.0, 2.0)))


def test_a_crowd_is_larger_and_weighs_as_much_per_copy(globule: Atoms) -> None:
    many = crowd(globule, 3, thinning=4, rng=np.random.default_rng(0))
    copies = round(many.occupancies.sum() / globule.occupancies.sum())
    assert copies >= 7
    assert many.extent > 2 * globule.extent
    assert len(many) == pytest.approx(copies * len(globule) / 4, rel=0.02)
