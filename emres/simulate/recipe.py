"""What a simulated map is like, as numbers: seed, sampling, motion, envelope, surroundings, noise, processing.

Lengths are Å, B factors Å^2, whatever the voxel size. A recipe holds its seed: two equal recipes give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from emres.errors import UsageError
from emres.simulate.checked import Checked, one_of, within

CTF_CORRECTIONS = ("none", "flipped", "wiener")
MASKS = ("none", "molecule", "sphere")

# A resolution finer than this many voxels can not be in a map.
NYQUIST_VOXELS = 2.0

# Parts of a recipe whose unit is Å^2 or Å of detail: they follow the resolution in `Recipe.at`.
_SQUARES = {"motion": ("radial", "field", "domain_b"), "envelope": ("b_factor",), "processing": ("sharpening",)}
_LENGTHS = {"motion": ("field_length",), "processing": ("low_pass",)}


@dataclass(frozen=True)
class Framing(Checked):
    """The box that the reconstruction fills.

    Parameters
    ----------
    padding : float
        Å of solvent between the atoms and each face, at least.
    shape : (z, y, x) voxels, optional
        The box itself, instead of one that fits.
    cubic : bool
        Sides as long as the longest.
    odd : bool
        An odd number of voxels along each side.
    sphere : bool
        Nothing remains outside a sphere round the particle, as refinement programs leave it.
    """

    padding: float = within(18.0, 0, 500)
    shape: tuple[int, int, int] | None = within(None, 8)
    cubic: bool = False
    odd: bool = False
    sphere: bool = False


@dataclass(frozen=True)
class Motion(Checked):
    """What makes the resolution vary within a map.

    Parameters
    ----------
    deposited : float
        Weight of the model's own B factors, about their median.
    radial : float
        Å^2 added at the outermost atom, less further in.
    field, field_length : float
        Standard deviation of a smooth random field of B factors, Å^2, and the length on which it varies, Å.
    domains : int
        Ends of the molecule that swing about a hinge.
    domain_b : float
        Å^2 at the far end of such a domain.
    fading : float
        Share of the occupancy that some regions lose.
    """

    deposited: float = within(1.0, 0, 200)
    radial: float = within(45.0, 0)
    field: float = within(45.0, 0)
    field_length: float = within(30.0, 1)
    domains: int = within(0, 0, 6)
    domain_b: float = within(0.0, 0)
    fading: float = within(0.0, 0, 1)


@dataclass(frozen=True)
class Envelope(Checked):
    """How an experiment weakens the signal with frequency.

    Parameters
    ----------
    b_factor : float
        Å^2; alignment errors, drift, the rest of what the molecule as a whole suffers.
    ctf : {"none", "flipped", "wiener"}
        What averaging over defoci leaves: mean |CTF| where only phases were flipped, a Wiener filter's gain, or 1.
    defocus : (nearest, farthest) Å
    detector : float
        Modulation transfer at Nyquist; 1 for an ideal detector.
    """

    b_factor: float = within(90.0, 0)
    ctf: str = one_of("wiener", CTF_CORRECTIONS)
    defocus: tuple[float, float] = within((8000.0, 22000.0), 500, 100_000)
    detector: float = within(0.6, 0.05, 1)


@dataclass(frozen=True)
class Surroundings(Checked):
    """What is in the box beside the model, the same in both halves.

    Parameters
    ----------
    solvent : float
        Density of the solvent over the molecule's mean: what the molecule displaces.
    micelle : float
        Density of a belt of detergent over the molecule's mean; 0 for none.
    micelle_width : float
        Å from the molecule to the rim of the belt.
    nucleic : int
        Base pairs of a duplex that leaves the molecule and gets lost; 0 for none.
    """

    solvent: float = within(0.3, 0, 0.95)
    micelle: float = within(0.0, 0, 2)
    micelle_width: float = within(18.0, 3, 60)
    nucleic: int = within(0, 0, 200)


@dataclass(frozen=True)
class Noise(Checked):
    """Noise, independent in the two halves. Its strength follows from the recipe's resolution.

    Parameters
    ----------
    power : float
        Exponent p of the noise power ~ frequency^p.
    anisotropy : float
        Noise power along one axis is 1 + anisotropy times the mean, across it 1 - anisotropy / 2.
    """

    power: float = within(0.5, -1, 3)
    anisotropy: float = within(0.0, 0, 1)


@dataclass(frozen=True)
class Processing(Checked):
    """What a depositor does to the average of two half maps; the default leaves it as it is.

    Parameters
    ----------
    fsc_weighting : bool
        Multiply each shell by sqrt(2 FSC / (1 + FSC)).
    sharpening : float
        Å^2 added to the B factor; below 0 sharpens (-200 to 0 are usual).
    low_pass : float
        Å; 0 for none.
    mask : {"none", "molecule", "sphere"}
    mask_edge : float
        Å over which the mask falls from 1 to 0.
    region : float
        Share of the molecule that is kept, masked and cropped out, below 1; 1 keeps all.
    crop : bool
        Cut the box down to what is kept.
    crop_margin : float
        Å left round it.
    voxel_size : float
        Å to which the map is resampled; 0 leaves its own.
    contour : float, optional
        Rms densities of what is kept of the molecule: voxels up to that become 0. 0 takes away what is negative, None
        nothing.
    """

    fsc_weighting: bool = False
    sharpening: float = within(0.0, -5000, 5000)
    low_pass: float = within(0.0, 0, 100)
    mask: str = one_of("none", MASKS)
    mask_edge: float = within(6.0, 0, 100)
    region: float = within(1.0, 0.01, 1)
    crop: bool = False
    crop_margin: float = within(6.0, 0, 200)
    voxel_size: float = within(0.0, 0, 20)
    contour: float | None = within(None, 0, 10)


@dataclass(frozen=True)
class Recipe(Checked):
    """What a simulated map is like; two equal recipes give the same bytes.

    Parameters
    ----------
    seed : int
        Of everything random.
    voxel_size : float
        Å.
    resolution : float
        Å; where the FSC of the two halves crosses 0.143 in the molecule.
    symmetry : str
        C1, C2, ... or D1, D2, ...: that many copies of the model round an axis along z.
    crowd : int
        Turned copies of the model packed along each side of a heap: an object for coarse voxels. 1 for the model alone.
    framing : Framing
    motion : Motion
    envelope : Envelope
    surroundings : Surroundings
    noise : Noise
    processing : Processing

    Raises
    ------
    UsageError
        If a value is out of range, or the resolution finer than two voxels.

    Examples
    --------
    >>> Recipe(seed=3, voxel_size=1.06, resolution=3.1).motion.field
    45.0
    >>> Recipe(voxel_size=2.0, resolution=3.0)
    Traceback (most recent call last):
    emres.errors.UsageError: a recipe's voxels are too coarse for its resolution: got 2 Å voxels for 3 Å, expected
    voxels of 1.5 Å at most; make the voxels smaller or the resolution coarser
    """

    seed: int = within(0, 0)
    voxel_size: float = within(1.06, 0.1, 50)
    resolution: float = within(3.2, 0.2, 500)
    symmetry: str = "C1"
    crowd: int = within(1, 1, 6)
    framing: Framing = Framing()
    motion: Motion = Motion()
    envelope: Envelope = Envelope()
    surroundings: Surroundings = Surroundings()
    noise: Noise = Noise()
    processing: Processing = Processing()

    def __post_init__(self) -> None:
        super().__post_init__()
        symmetry_order(self.symmetry)
        if self.resolution < NYQUIST_VOXELS * self.voxel_size * (1 - 1e-9):
            raise UsageError(
                "a recipe's voxels are too coarse for its resolution",
                got=f"{self.voxel_size:g} Å voxels for {self.resolution:g} Å",
                expected=f"voxels of {self.resolution / NYQUIST_VOXELS:g} Å at most",
                cure="make the voxels smaller or the resolution coarser",
            )

    def at(self, *, resolution: float | None = None, voxel_size: float | None = None) -> Recipe:
        """Return the recipe at another resolution and voxel size (Å), its B factors and lengths carried along.

        Examples
        --------
        >>> Recipe(resolution=3.0).at(resolution=6.0, voxel_size=2.0).envelope.b_factor
        360.0
        """
        ratio = (resolution or self.resolution) / self.resolution
        groups = {name: _scaled(self, name, names, ratio**2) for name, names in _SQUARES.items()}
        for name, names in _LENGTHS.items():
            groups[name] = {**groups[name], **_scaled(self, name, names, ratio)}
        changed = {name: replace(getattr(self, name), **values) for name, values in groups.items()}
        return replace(self, resolution=self.resolution * ratio, voxel_size=voxel_size or self.voxel_size, **changed)

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values; `recipe_from` reads it back."""
        return dict(_plain(asdict(self)))


def _scaled(recipe: Recipe, group: str, names: tuple[str, ...], factor: float) -> dict[str, float]:
    return {name: getattr(getattr(recipe, group), name) * factor for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items() if one is not None}
    return list(value) if isinstance(value, tuple) else value


def symmetry_order(symmetry: str) -> tuple[int, bool]:
    """Return the order of a symmetry's main axis, and whether it is dihedral.

    Raises
    ------
    UsageError
        If it is none of C1, C2, ... D1, D2, ... up to 60.

    Examples
    --------
    >>> symmetry_order("D7")
    (7, True)
    """
    match = re.fullmatch(r"([CD])([1-9]\d?)", symmetry)
    if not match or int(match[2]) > 60:
        raise UsageError("a recipe's symmetry is unknown", got=repr(symmetry), expected="C1 to C60 or D1 to D60")
    return int(match[2]), match[1] == "D"
