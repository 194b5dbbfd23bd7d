"""Atoms are read as they are, by rules that are stated."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from emres.errors import MapError
from emres.simulate.atoms import Atoms, crowd, read_atoms

PDB = """\
ATOM      1  N   ALA A   1      11.000  22.000  33.000  1.00 15.00           N
ATOM      2  CA  ALA A   1      12.000  23.000  34.000  0.50 25.00           C
ATOM      3  H   ALA A   1      12.500  23.000  34.000  1.00 25.00           H
HETATM    4  O   HOH A   2       1.000   2.000   3.000  1.00 30.00           O
END
"""


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


def test_a_crowd_is_larger_and_weighs_as_much_per_copy(globule: Atoms) -> None:
    many = crowd(globule, 3, thinning=4, rng=np.random.default_rng(0))
    copies = round(many.occupancies.sum() / globule.occupancies.sum())
    assert copies >= 7
    assert many.extent > 2 * globule.extent
    assert len(many) == pytest.approx(copies * len(globule) / 4, rel=0.02)
