"""Atoms -> electron scattering density on a grid, and the plain map at a stated resolution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from emres.errors import UsageError
from emres.simulate.atoms import Atoms
from emres.simulate.box import check_inside, fast_side
from emres.volume.grid import Grid

Array = np.ndarray[Any, Any]

# Atoms are drawn this wide (sigma, voxels), on a grid so much finer, and sharpened again in Fourier space. What folds
# back from beyond the fine grid's Nyquist frequency is exp(-2 pi^2 sigma^2 oversampling (oversampling - 1)), 1.4 %,
# of an atom's amplitude at Nyquist, and 0.3 % at nine tenths of it.
DRAWN_SIGMA, OVERSAMPLING = 0.7, 4 / 3
# Density below this share of an atom's own is not drawn: gemmi's default.
CUTOFF = 1e-5
# Atoms whose B factors differ by up to so many times that of the narrowest are drawn together; at most so many groups.
_ALIKE, _MOST_GROUPS = 1.5, 8
# Exponent that undoing a blur never exceeds.
_MOST = np.float32(30)
# A Gaussian whose transform has fallen to 1/e at frequency 1/resolution is the B factor 4 resolution^2.
PLAIN_B_FACTOR = 4.0
# Planes that are transformed at a time.
_PLANES = 16
# Where a molecule ends: sigma of the Gaussian that stands for an atom, Å, and the distance at which one alone ends.
MASK_SIGMA, MASK_REACH = 2.0, 3.5


def plain_map(atoms: Atoms, grid: Grid, resolution: float) -> Array:
    """Return the density of a model at one resolution everywhere: no noise, no solvent, no B factors.

    Parameters
    ----------
    atoms : Atoms
    grid : Grid
        See `box_round`.
    resolution : float
        Å, as ``molmap`` of ChimeraX and the ``pdb2mrc`` that it is based on define it: every atom is blurred by a
        Gaussian of sigma = resolution / (pi sqrt(2)) = 0.225 resolution, whose Fourier transform falls to 1/e at
        1/resolution (ChimeraX user guide, command molmap). Those programs weigh an atom by its atomic number; here it
        has its electron scattering factor.

    Returns
    -------
    (z, y, x) float32

    Raises
    ------
    UsageError
        If the resolution is finer than two voxels, or an atom lies outside the box.
    """
    from scipy import fft

    largest = max(grid.voxel_size)
    if not resolution >= 2 * largest * (1 - 1e-9):
        raise UsageError(
            "the voxels are too coarse for the resolution",
            got=f"{largest:g} Å voxels for {resolution:g} Å",
            expected=f"voxels of {resolution / 2:g} Å at most",
            cure="make the voxels smaller or the resolution coarser",
        )
    check_inside(atoms, grid)
    still = Atoms(atoms.positions, atoms.elements, np.zeros(len(atoms)), atoms.occupancies)
    spectrum = scattering_spectrum(still, grid, PLAIN_B_FACTOR * resolution**2)
    return np.asarray(fft.irfftn(spectrum, s=grid.shape, overwrite_x=True), dtype=np.float32)


def scattering_density(atoms: Atoms, grid: Grid) -> Array:
    """Return the electron scattering density of atoms on a grid.

    Scattering factors are the five Gaussians of the International Tables (vol. C, 4.3.2.2); every atom is smeared by
    its own B factor. Nothing beyond the Nyquist sphere remains.

    Parameters
    ----------
    atoms : Atoms
        In Å; a position beyond a face comes back at the opposite one.
    grid : Grid

    Returns
    -------
    (z, y, x) float32
    """
    from scipy import fft

    spectrum = scattering_spectrum(atoms, grid)
    return np.asarray(fft.irfftn(spectrum, s=grid.shape, overwrite_x=True), dtype=np.float32)


def scattering_spectrum(atoms: Atoms, grid: Grid, b_factor: float = 0.0) -> Array:
    """Return the half-complex transform of the scattering density, with one more B factor (Å^2) on all of it.

    Atoms are drawn just wide enough for the voxels, whatever their B factors, as narrow ones draw fastest; what that
    is too much or too little is made good here.

    Parameters
    ----------
    atoms : Atoms
        B factors may be negative.
    grid : Grid
    b_factor : float

    Returns
    -------
    (z, y, x // 2 + 1) complex64
        Nothing beyond the Nyquist sphere.
    """
    narrowest = 8 * math.pi**2 * (DRAWN_SIGMA * max(grid.voxel_size)) ** 2
    square = squared_frequency(grid)
    fine = _finer(grid)
    total = np.zeros(square.shape, dtype=np.complex64)
    for group in _alike(atoms, narrowest):
        blur = narrowest - float(group.b_factors.min())
        spectrum = _transform(_drawn(group, fine, blur), grid)
        spectrum *= np.exp(np.minimum(square * np.float32((blur - b_factor) / 4), _MOST))
        total += spectrum
        del spectrum
    total *= np.float32(grid.voxels / fine.voxels)
    total[square >= (0.5 / max(grid.voxel_size)) ** 2 * (1 - 1e-6)] = 0
    return total


def _finer(grid: Grid) -> Grid:
    """Return a finer grid over the same box."""
    sides = [fast_side(math.ceil(OVERSAMPLING * n)) for n in grid.shape]
    sizes = [length / side for length, side in zip(grid.extent, sides, strict=True)]
    return Grid((sides[0], sides[1], sides[2]), (sizes[0], sizes[1], sizes[2]), grid.origin)


def _transform(density: Array, grid: Grid) -> Array:
    """Return those coefficients of a finer grid's half-complex transform that a grid has: (z, y, x // 2 + 1) complex64.

    Some planes at a time, so that the finer transform never exists as a whole.
    """
    from scipy import fft

    nz, ny, nx = grid.shape
    z, y = (np.rint(np.fft.fftfreq(n) * n).astype(int) for n in (nz, ny))
    columns = np.empty((len(density), ny, nx // 2 + 1), dtype=np.complex64)
    for start in range(0, len(density), _PLANES):
        part = slice(start, start + _PLANES)
        columns[part] = fft.rfft2(density[part])[:, y, : nx // 2 + 1]
    del density
    spectrum = np.empty((nz, ny, nx // 2 + 1), dtype=np.complex64)
    for start in range(0, ny, _PLANES):
        rows = slice(start, start + _PLANES)
        spectrum[:, rows] = fft.fft(columns[:, rows], axis=0)[z]
    return spectrum


def _alike(atoms: Atoms, narrowest: float) -> list[Atoms]:
    """Return the atoms in groups of like B factors, as a wide atom among narrow ones takes long to draw."""
    above = atoms.b_factors - atoms.b_factors.min()
    count = int(np.clip(math.ceil(float(above.max()) / (_ALIKE * narrowest)), 1, _MOST_GROUPS))
    group = np.minimum((above * (count / max(float(above.max()), 1e-6))).astype(int), count - 1)
    return [atoms.chosen(group == k) for k in range(count) if (group == k).any()]


def _drawn(atoms: Atoms, grid: Grid, blur: float) -> Array:
    import gemmi

    calculator = gemmi.DensityCalculatorE()
    calculator.set_grid_cell_and_spacegroup(_cell(grid))
    calculator.grid.set_size(*grid.shape[::-1])
    calculator.blur, calculator.cutoff = blur, CUTOFF
    calculator.initialize_grid()
    atom = gemmi.Atom()
    elements = {int(number): gemmi.Element(int(number)) for number in np.unique(atoms.elements)}
    x, y, z = (atoms.positions - np.array(grid.origin)).T[::-1].tolist()
    rows = zip(x, y, z, atoms.elements.tolist(), atoms.b_factors.tolist(), atoms.occupancies.tolist(), strict=True)
    for x_here, y_here, z_here, element, b_factor, occupancy in rows:
        atom.pos = gemmi.Position(x_here, y_here, z_here)
        atom.element, atom.b_iso, atom.occ = elements[element], b_factor, occupancy
        calculator.add_atom_density_to_grid(atom)
    return np.asarray(calculator.grid.array).transpose(2, 1, 0)


def _cell(grid: Grid) -> Any:
    import gemmi

    z, y, x = grid.extent
    structure = gemmi.Structure()
    structure.cell = gemmi.UnitCell(x, y, z, 90, 90, 90)
    structure.spacegroup_hm = "P 1"
    return structure


def squared_frequency(grid: Grid) -> Array:
    """Return |frequency|^2 in 1/Å^2 for every coefficient of ``numpy.fft.rfftn``: (z, y, x // 2 + 1) float32."""
    nz, ny, nx = grid.shape
    dz, dy, dx = grid.voxel_size
    axes = (np.fft.fftfreq(nz, dz), np.fft.fftfreq(ny, dy), np.fft.rfftfreq(nx, dx))
    z, y, x = (np.square(axis).astype(np.float32) for axis in axes)
    return np.asarray(z[:, None, None] + y[None, :, None] + x[None, None, :])


def molecule_mask(atoms: Atoms, grid: Grid, sigma: float = MASK_SIGMA) -> Array:
    """Return where the molecule is: (z, y, x) bool.

    Every atom is one Gaussian; the mask ends where the sum falls to what one lonely atom has 1.75 sigma (3.5 Å) away,
    so gaps between atoms close.

    Parameters
    ----------
    atoms : Atoms
    grid : Grid
    sigma : float
        Å; at least a voxel is taken.
    """
    from scipy import fft

    sigma = max(sigma, *grid.voxel_size)
    index = np.rint((atoms.positions - np.array(grid.origin)) / np.array(grid.voxel_size)).astype(int)
    flat = np.ravel_multi_index(tuple(index.T), grid.shape, mode="wrap")
    count = np.zeros(grid.voxels, dtype=np.float32)
    np.add.at(count, flat, np.float32(1))
    spectrum = fft.rfftn(count.reshape(grid.shape), overwrite_x=True)
    spectrum *= np.exp(squared_frequency(grid) * (-2 * math.pi**2 * sigma**2))
    smooth = fft.irfftn(spectrum, s=grid.shape, overwrite_x=True)
    peak = math.prod(grid.voxel_size) / ((2 * math.pi) ** 1.5 * sigma**3)
    return np.asarray(smooth > peak * math.exp(-0.5 * (MASK_REACH / MASK_SIGMA) ** 2))
