"""Atomic model -> atoms -> electron scattering density on a grid.

``gemmi`` counts x, y, z; here, as everywhere in emres, positions are z, y, x in Å.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emres.errors import MapError, UsageError
from emres.volume.grid import Grid

Array = np.ndarray[Any, Any]

# An atom narrower than this share of a voxel would alias: it is drawn wider, and sharpened again in Fourier space.
DRAWN_SIGMA = 0.8


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

    def chosen(self, index: Array) -> Atoms:
        """Return some of the atoms, by index or by a boolean per atom."""
        return Atoms(self.positions[index], self.elements[index], self.b_factors[index], self.occupancies[index])


def read_atoms(path: Path | str) -> Atoms:
    """Read the atoms of the first model in an mmCIF or PDB file, without hydrogens and waters.

    Parameters
    ----------
    path : path
        May be gzipped.

    Returns
    -------
    Atoms

    Raises
    ------
    MapError
        If the file cannot be read or holds no atoms.
    """
    import gemmi

    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError) as error:
        raise MapError(f"{path} is not an atomic model ({error})", cure="give an mmCIF or PDB file") from error
    structure.remove_hydrogens()
    structure.remove_waters()
    atoms = [site.atom for site in structure[0].all()] if len(structure) else []
    if not atoms:
        raise MapError(f"{path} holds no atoms", cure="give a model with coordinates")
    return Atoms(
        np.array([(atom.pos.z, atom.pos.y, atom.pos.x) for atom in atoms]),
        np.array([atom.element.atomic_number for atom in atoms]),
        np.array([atom.b_iso for atom in atoms], dtype=np.float64),
        np.array([atom.occ for atom in atoms], dtype=np.float64),
    )


def centred(atoms: Atoms, grid: Grid) -> Atoms:
    """Return the atoms moved so that the middle of their box is the middle of the grid's."""
    middle = (atoms.positions.min(axis=0) + atoms.positions.max(axis=0)) / 2
    centre = np.array(grid.origin) + (np.array(grid.shape) - 1) / 2 * np.array(grid.voxel_size)
    return replace(atoms, positions=atoms.positions - middle + centre)


def scattering_density(atoms: Atoms, grid: Grid) -> Array:
    """Return the electron scattering density of atoms on a grid.

    Scattering factors are the five Gaussians of the International Tables (vol. C, 4.3.2.2); every atom is smeared by
    its own B factor. Nothing beyond the Nyquist sphere remains.

    Parameters
    ----------
    atoms : Atoms
        In Å; a position beyond a face comes back at the opposite one.
    grid : Grid
        With cubic voxels.

    Returns
    -------
    (z, y, x) float32

    Raises
    ------
    UsageError
        If the voxels are no cubes.
    """
    import gemmi

    if max(grid.voxel_size) > 1.001 * min(grid.voxel_size):
        raise UsageError("density is drawn on cubic voxels only", got=f"{grid.voxel_size} Å")
    calculator = gemmi.DensityCalculatorE()
    calculator.set_grid_cell_and_spacegroup(_cell(grid))
    calculator.grid.set_size(*grid.shape[::-1])
    narrowest = 8 * math.pi**2 * (DRAWN_SIGMA * grid.mean_voxel_size) ** 2
    calculator.blur = max(0.0, narrowest - float(atoms.b_factors.min()))
    calculator.initialize_grid()
    for atom in _gemmi_atoms(atoms, grid):
        calculator.add_atom_density_to_grid(atom)
    drawn = np.array(calculator.grid.array, dtype=np.float32).transpose(2, 1, 0)
    return _sharpened(drawn, grid, calculator.blur)


def _cell(grid: Grid) -> Any:
    import gemmi

    z, y, x = grid.extent
    structure = gemmi.Structure()
    structure.cell = gemmi.UnitCell(x, y, z, 90, 90, 90)
    structure.spacegroup_hm = "P 1"
    return structure


def _gemmi_atoms(atoms: Atoms, grid: Grid) -> Any:
    import gemmi

    elements = {int(number): gemmi.Element(int(number)) for number in np.unique(atoms.elements)}
    rows = zip(atoms.positions - np.array(grid.origin), atoms.elements, atoms.b_factors, atoms.occupancies, strict=True)
    for (z, y, x), element, b_factor, occupancy in rows:
        atom = gemmi.Atom()
        atom.pos = gemmi.Position(x, y, z)
        atom.element, atom.b_iso, atom.occ = elements[int(element)], b_factor, occupancy
        yield atom


def squared_frequency(grid: Grid) -> Array:
    """Return |frequency|^2 in 1/Å^2 for every coefficient of ``numpy.fft.rfftn``: (z, y, x // 2 + 1) float32."""
    nz, ny, nx = grid.shape
    dz, dy, dx = grid.voxel_size
    z, y, x = np.fft.fftfreq(nz, dz), np.fft.fftfreq(ny, dy), np.fft.rfftfreq(nx, dx)
    square = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2
    return np.asarray(square, dtype=np.float32)


def _sharpened(density: Array, grid: Grid, b_factor: float) -> Array:
    """Undo a blur, and cut at the Nyquist sphere."""
    from scipy import fft

    square = squared_frequency(grid)
    inside = square <= (0.5 / max(grid.voxel_size)) ** 2
    gain = np.where(inside, np.exp(np.minimum(b_factor * square / 4, 30)), 0).astype(np.float32)
    return np.asarray(fft.irfftn(fft.rfftn(density) * gain, s=grid.shape), dtype=np.float32)


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
