"""Atomic models as arrays of atoms: read, moved, packed.

``gemmi`` counts x, y, z; here, as everywhere in emres, positions are z, y, x in Å.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emres.errors import MapError
from emres.volume.grid import Grid

Array = np.ndarray[Any, Any]

# What an atom of unknown element counts as, and the last one with scattering factors in the International Tables.
CARBON, CALIFORNIUM = 6, 98


@dataclass(frozen=True)
class Atoms:
    """Atoms of one model.

    Parameters
    ----------
    positions : (n, 3) float64
        Å; z, y, x.
    elements : (n,) int
        Atomic numbers.
    b_factors : (n,) float64
        Å^2.
    occupancies : (n,) float64
    """

    positions: Array
    elements: Array
    b_factors: Array
    occupancies: Array

    def __len__(self) -> int:
        return len(self.elements)

    @property
    def extent(self) -> float:
        """Longest side of the box round the atoms, Å."""
        return float(np.ptp(self.positions, axis=0).max())

    @property
    def middle(self) -> Array:
        """Middle of the box round the atoms: (z, y, x) Å."""
        return np.asarray((self.positions.min(axis=0) + self.positions.max(axis=0)) / 2)

    def chosen(self, index: Array) -> Atoms:
        """Return some of the atoms, by index or by a boolean per atom."""
        return Atoms(self.positions[index], self.elements[index], self.b_factors[index], self.occupancies[index])

    def joined(self, other: Atoms) -> Atoms:
        """Return these atoms and others."""
        return Atoms(
            np.concatenate([self.positions, other.positions]),
            np.concatenate([self.elements, other.elements]),
            np.concatenate([self.b_factors, other.b_factors]),
            np.concatenate([self.occupancies, other.occupancies]),
        )


def read_atoms(path: Path | str, assembly: str | None = None) -> Atoms:
    """Read the atoms of the first model in an mmCIF or PDB file, without hydrogens and waters.

    Alternative locations all stay, each with its occupancy, as all of them are in the sample; where they add up to
    more than one atom they are scaled to one. Atoms of an unknown element count as carbon, a B factor below 0 or
    missing as 0; atoms without occupancy are left out.

    Parameters
    ----------
    path : path
        May be gzipped.
    assembly : str, optional
        Name of a biological assembly ("1") to build; the coordinates as they are in the file by default.

    Returns
    -------
    Atoms

    Raises
    ------
    MapError
        If the file cannot be read, holds no atoms (or none with any occupancy), has a coordinate that is no number, or
        no such assembly.
    """
    import gemmi

    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise MapError(f"{path} is not an atomic model ({reason})", cure="give an mmCIF or PDB file") from error
    found = sum(model.count_atom_sites() for model in structure)
    structure.remove_hydrogens()
    structure.remove_waters()
    if assembly is not None:
        _build_assembly(structure, assembly, path)
    sites = list(structure[0].all()) if len(structure) else []
    if not sites:
        what = "holds no atoms but hydrogens and waters" if found else "holds no atoms"
        raise MapError(f"{path} {what}", cure="give a model with coordinates")
    atoms = Atoms(
        np.array([(site.atom.pos.z, site.atom.pos.y, site.atom.pos.x) for site in sites]),
        np.array([_element(site.atom.element.atomic_number) for site in sites]),
        np.nan_to_num(np.maximum([site.atom.b_iso for site in sites], 0.0)),
        _occupancies(sites),
    )
    return _usable(atoms, path)


def _build_assembly(structure: Any, name: str, path: Path | str) -> None:
    import gemmi

    names = [one.name for one in structure.assemblies]
    if name not in names:
        raise MapError(
            f"{path} has no assembly {name}", expected=f"one of {', '.join(names)}" if names else "none is listed in it"
        )
    structure.transform_to_assembly(name, gemmi.HowToNameCopiedChain.Short)


def _element(number: int) -> int:
    return min(number, CALIFORNIUM) or CARBON


def _occupancies(sites: list[Any]) -> Array:
    """Return every atom's occupancy; those of one atom's alternative locations add up to 1 at most."""
    occupancies = np.nan_to_num(np.clip([site.atom.occ for site in sites], 0.0, 1.0))
    alternatives: dict[tuple[str, str, str], list[int]] = {}
    for index, site in enumerate(sites):
        if site.atom.has_altloc():
            alternatives.setdefault((site.chain.name, str(site.residue.seqid), site.atom.name), []).append(index)
    for indices in alternatives.values():
        occupancies[indices] /= max(1.0, float(occupancies[indices].sum()))
    return np.asarray(occupancies)


def _usable(atoms: Atoms, path: Path | str) -> Atoms:
    """Return the atoms that have an occupancy."""
    wrong = int((~np.isfinite(atoms.positions)).any(axis=1).sum())
    if wrong:
        raise MapError(f"{path} has {wrong} atoms whose coordinates are no numbers", cure="give a complete model")
    seen = atoms.occupancies > 0
    if not seen.any():
        raise MapError(f"every atom of {path} has occupancy 0", cure="set the occupancies, to 1 as a rule")
    return atoms if seen.all() else atoms.chosen(seen)


def centred(atoms: Atoms, grid: Grid) -> Atoms:
    """Return the atoms moved so that the middle of their box is the middle of the grid's."""
    centre = np.array(grid.origin) + (np.array(grid.shape) - 1) / 2 * np.array(grid.voxel_size)
    return replace(atoms, positions=atoms.positions - atoms.middle + centre)


def crowd(atoms: Atoms, per_side: int, thinning: float, rng: np.random.Generator) -> Atoms:
    """Pack turned copies of a model into one large object, for grids on which the model alone is a speck.

    Parameters
    ----------
    atoms : Atoms
    per_side : int
        Copies along each axis; those outside the inscribed ball are left out.
    thinning : float
        One atom in so many is kept, and counts as many: coarse grids do not see single atoms.
    rng : numpy.random.Generator

    Returns
    -------
    Atoms
    """
    from scipy.spatial.transform import Rotation

    places = np.indices((per_side,) * 3).reshape(3, -1).T - (per_side - 1) / 2
    places = places[np.linalg.norm(places, axis=1) <= per_side / 2 + 0.1]
    spacing = 0.75 * float(np.mean(np.ptp(atoms.positions, axis=0)))
    kept = atoms.chosen(rng.permutation(len(atoms))[: max(1, int(len(atoms) / thinning))])
    offset = kept.positions - atoms.positions.mean(axis=0)
    turns = Rotation.random(len(places), rng=rng)
    jitter = rng.normal(scale=0.08, size=places.shape)
    copies = [turn.apply(offset) + spacing * place for turn, place in zip(turns, places + jitter, strict=True)]
    return Atoms(
        np.concatenate(copies),
        np.tile(kept.elements, len(copies)),
        np.tile(kept.b_factors, len(copies)),
        np.tile(kept.occupancies, len(copies)) * (len(atoms) / len(kept)),
    )
