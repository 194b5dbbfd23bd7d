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

CIF = """\
data_model
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_entity_id
_atom_site.label_seq_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.B_iso_or_equiv
_atom_site.auth_seq_id
_atom_site.auth_asym_id
_atom_site.pdbx_PDB_model_num
ATOM 1 N N . ALA A 1 1 11.0 22.0 33.0 1.0 15.0 1 A 1
ATOM 2 C CA . ALA A 1 1 12.0 23.0 34.0 0.5 25.0 1 A 1
"""


def pdb_line(name: str, element: str, x: float = 1.0, *, alt: str = " ", occ: float = 1.0, b: float = 20.0) -> str:
    return f"ATOM      1 {name:<4}{alt}SER A   1    {x:8.3f}   2.000   3.000{occ:6.2f}{b:6.2f}          {element:>2}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "model.pdb"
    path.write_text(text)
    return path


@pytest.mark.parametrize("suffix", [".pdb", ".pdb.gz", ".cif", ".cif.gz"])
def test_atoms_are_read_as_zyx_without_hydrogen_and_water(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    text = (PDB if "pdb" in suffix else CIF).encode()
    path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    atoms = read_atoms(path)
    np.testing.assert_allclose(atoms.positions, [[33, 22, 11], [34, 23, 12]])
    assert atoms.elements.tolist() == [7, 6]
    assert atoms.b_factors.tolist() == [15, 25]
    assert atoms.occupancies.tolist() == [1, 0.5]


@pytest.mark.parametrize("content", [b"", b"nothing here", b"\x1f\x8b broken", PDB.splitlines()[3].encode()])
def test_what_holds_no_atoms_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pdb"
    path.write_bytes(content)
    with pytest.raises(MapError):
        read_atoms(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MapError, match="not an atomic model"):
        read_atoms(tmp_path / "none.cif")


def test_alternative_locations_all_stay_and_are_one_atom_together(tmp_path: Path) -> None:
    halves = [pdb_line(" OG", "O", 1.0, alt="A", occ=0.6), pdb_line(" OG", "O", 3.0, alt="B", occ=0.4)]
    whole = [pdb_line(" CB", "C", 5.0, alt="A", occ=1.0), pdb_line(" CB", "C", 6.0, alt="B", occ=1.0)]
    atoms = read_atoms(written(tmp_path, "".join(halves + whole)))
    assert atoms.positions[:, 2].tolist() == [1, 3, 5, 6]
    np.testing.assert_allclose(atoms.occupancies, [0.6, 0.4, 0.5, 0.5])


def test_atoms_without_occupancy_count_nothing_and_a_model_of_them_is_refused(tmp_path: Path) -> None:
    empty = pdb_line(" CA", "C", occ=0.0)
    assert len(read_atoms(written(tmp_path, empty + pdb_line(" CB", "C")))) == 1
    with pytest.raises(MapError, match="occupancy 0"):
        read_atoms(written(tmp_path, empty))


def test_an_unknown_element_counts_as_carbon_and_a_negative_b_factor_as_none(tmp_path: Path) -> None:
    atoms = read_atoms(written(tmp_path, pdb_line(" QX", "X", b=-12.0) + pdb_line(" CF", "FM")))
    assert atoms.elements.tolist() == [6, 98]
    assert atoms.b_factors.tolist() == [0, 20]


def test_coordinates_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.cif"
    path.write_text(CIF.replace("33.0", "nan"))
    with pytest.raises(MapError, match="1 atoms whose coordinates"):
        read_atoms(path)


ASSEMBLY = """\
REMARK 350 BIOMOLECULE: 1
REMARK 350 AUTHOR DETERMINED BIOLOGICAL UNIT: DIMERIC
REMARK 350 APPLY THE FOLLOWING TO CHAINS: A
REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000
REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000
REMARK 350   BIOMT1   2 -1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   2  0.000000 -1.000000  0.000000        0.00000
REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        0.00000
"""


def test_an_assembly_is_built_only_when_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, ASSEMBLY + PDB)
    assert len(read_atoms(path)) == 2
    both = read_atoms(path, assembly="1")
    np.testing.assert_allclose(np.sort(both.positions[:, 2]), [-12, -11, 11, 12])
    with pytest.raises(MapError, match="no assembly 7: expected one of 1"):
        read_atoms(path, assembly="7")


def test_a_crowd_is_larger_and_weighs_as_much_per_copy(globule: Atoms) -> None:
    many = crowd(globule, 3, thinning=4, rng=np.random.default_rng(0))
    copies = round(many.occupancies.sum() / globule.occupancies.sum())
    assert copies >= 7
    assert many.extent > 2 * globule.extent
    assert len(many) == pytest.approx(copies * len(globule) / 4, rel=0.02)
