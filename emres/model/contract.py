"""What a model states about itself: everything a run must know without loading the net, and without torch.

The contract says at which voxel size a net works, how a map is normalised for it, the multiple and halo of a block
and the memory a voxel costs. Block plans are derived from it.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from emres.errors import ModelError
from emres.volume.grid import Grid

FORMAT_VERSION = 3
CONTRACT_FILE = "contract.json"
NORMALISATION = "median outside / rms inside the mask"
MIN_MAX = "minimum 0 / maximum 1 of the whole map"
LOG_VOXELS, ANGSTROM = "log voxels", "Å"
WITH_SPREAD = "log voxels and spread"
ONE_SIGMA = 0.6827  # share of a map's voxels that are to lie within one spread


@dataclass(frozen=True)
class Contract:
    """What a net needs and gives, readable without torch.

    Parameters
    ----------
    name, version : str
        ``emres-small``, ``0.1``: together the name under which predictions are kept.
    architecture : str
        A key of ``ARCHITECTURES``.
    arguments : dict
        Its constructor's integers.
    voxel_size : float
        Å of the finest working grid.
    octaves : int
        How many times the working grid may be doubled; the answer is in voxels, so the same weights serve.
    steps : int
        Working grids an octave: 2 for grids that are each the square root of 2 coarser than the last.
    multiple, halo : int
        A box starts on a multiple and carries ``halo`` voxels of context (a multiple, at least the receptive radius).
    valid_range : (float, float)
        Finest and coarsest answer, in voxels of the working grid; predictions are clipped to it.
    bytes_per_voxel : int
        Peak memory of the forward pass per voxel of a box, measured.
    weights_sha256 : str
    training : dict
        Where the weights come from: data, split, seed, steps, date, measured errors.
    self_test : dict
        Statistics of the net's answer to :func:`self_test_input`.
    normalisation : str
        How a map is centred and scaled, once per map: by the median outside and the rms inside the mask, or by its
        minimum and maximum.
    output : str
        What the net says: ``log voxels`` of the working grid, the same ``and spread``, or ``Å``.
    spread_factor : float
        What the net's spread is multiplied by, so that 68 % of the voxels of held-out maps lie within it.
    familiar : dict
        What maps the net was trained on, as numbers of the condition: see :class:`emres.model.familiar.Familiar`.
    cube : int
        0 for a net that sees a map as a whole. Above: it sees cubes of that side alone, on the map's own voxels,
        in a box padded with zeros to a power of two; nothing is resampled or clipped, and 100 stands where the
        density is not above 0.
    patterned : bool
        Whether it reads what the local power shows, beside the density: :mod:`emres.volume.one_map_fsc`.
    format_version : int
    """

    name: str
    version: str
    architecture: str
    arguments: dict[str, int]
    voxel_size: float
    octaves: int
    multiple: int
    halo: int
    valid_range: tuple[float, float]
    bytes_per_voxel: int
    weights_sha256: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    self_test: dict[str, float] = field(default_factory=dict)
    normalisation: str = NORMALISATION
    output: str = LOG_VOXELS
    cube: int = 0
    steps: int = 1
    spread_factor: float = 1.0
    familiar: dict[str, Any] = field(default_factory=dict)
    patterned: bool = False
    format_version: int = FORMAT_VERSION

    @property
    def name_version(self) -> str:
        """``emres-small@0.2``: what a prediction is filed under."""
        return f"{self.name}@{self.version}"

    @property
    def conditioned(self) -> bool:
        """Whether the net is told of the whole map, and says how sure it is."""
        return self.output == WITH_SPREAD

    @property
    def reach(self) -> int:
        """Voxels round a wanted voxel that a box may hold: its halo, and what lies before the next multiple."""
        return self.halo + self.multiple

    def working_voxel_size(self, voxel_size: float) -> float:
        """Return the grid, in Å, on which a map of this voxel size (Å) is predicted.

        It is the coarsest of the grids that loses none of the map's frequencies, give or take a tenth.

        Examples
        --------
        >>> contract = Contract("net", "1", "compact_unet", {}, 1.5, 3, 4, 24, (2, 12), 100)
        >>> [contract.working_voxel_size(size) for size in (0.65, 1.3, 2.64, 5.7, 80.0)]
        [1.5, 1.5, 1.5, 6.0, 12.0]
        """
        return working_voxel_size(voxel_size, self.voxel_size, self.octaves, self.steps)

    def working_grid(self, grid: Grid) -> Grid:
        """Return the grid on which a map is predicted: resampled, or padded for a net of cubes.

        Examples
        --------
        >>> cubes = Contract("net", "1", "legacy_unet", {}, 1.5, 0, 16, 0, (2, 12), 100, cube=16)
        >>> cubes.working_grid(Grid((70, 64, 61), (2.0, 2.0, 2.0)))
        Grid(shape=(128, 128, 128), voxel_size=(2.0, 2.0, 2.0), origin=(-58.0, -64.0, -66.0))
        """
        if not self.cube:
            return grid.resampled_evenly(self.working_voxel_size(grid.mean_voxel_size))
        side = max(self.cube, 2 ** math.ceil(math.log2(max(grid.shape))))
        # Of an odd number of planes the one left over goes behind: the predecessor throws a coin.
        z, y, x = (
            start - (side - n) // 2 * size
            for n, size, start in zip(grid.shape, grid.voxel_size, grid.origin, strict=True)
        )
        return Grid((side,) * 3, grid.voxel_size, (z, y, x))

    def to_json(self) -> str:
        """Return the contract as JSON text."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "contract") -> Contract:
        """Read a contract.

        Parameters
        ----------
        text : str
            What :meth:`to_json` wrote.
        source : str
            Name of the file, for errors.

        Raises
        ------
        ModelError
            If it is no contract, or one of a newer format.
        """
        try:
            record = json.loads(text)
            version = int(record["format_version"])
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{source} is not a model contract", cure="give the folder of a bundle") from error
        if version > FORMAT_VERSION:
            raise ModelError(
                f"{source} was written by a newer emres",
                got=f"format {version}",
                expected=f"at most {FORMAT_VERSION}",
                cure="upgrade emres",
            )
        known = {item.name for item in fields(cls)}
        try:
            low, high = record["valid_range"]
            record = {key: value for key, value in record.items() if key in known}
            return cls(**{**record, "valid_range": (float(low), float(high))})._checked(source)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{source} lacks a field or has a wrong one ({error})", cure="export the model again"
            ) from error

    def _checked(self, source: str) -> Contract:
        plain = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
        if not (plain.fullmatch(self.name) and plain.fullmatch(self.version)):
            raise ModelError(f"{source} has an unusable name", got=self.name_version, expected="letters, digits, . _ -")
        numbers = (self.voxel_size, self.multiple, self.bytes_per_voxel, self.valid_range[0])
        if (
            min(numbers) <= 0
            or self.valid_range[1] <= self.valid_range[0]
            or self.halo % self.multiple
            or self.octaves < 0
            or self.steps < 1
            or not self.spread_factor > 0
        ):
            raise ModelError(
                f"{source} contradicts itself",
                got=f"voxel size {self.voxel_size}, multiple {self.multiple}, "
                f"halo {self.halo}, valid range {self.valid_range}",
                cure="export the model again",
            )
        return self


def working_voxel_size(voxel_size: float, finest: float, octaves: int, steps: int = 1) -> float:
    """Return the grid that a map of some voxel size goes on, all in Å.

    Parameters
    ----------
    voxel_size : float
        Of the map.
    finest : float
        The finest grid there is.
    octaves, steps : int
        How many times it may be doubled, and how many grids there are an octave.

    Examples
    --------
    >>> [round(working_voxel_size(size, 1.0, 3, steps=2), 2) for size in (0.65, 1.3, 2.64, 80.0)]
    [1.0, 1.41, 2.83, 8.0]
    """
    step = math.floor(steps * math.log2(1.1 * voxel_size / finest))
    return float(finest * 2 ** (min(max(step, 0), octaves * steps) / steps))


def read_contract(folder: Path | str) -> Contract:
    """Read the contract of a bundle without its weights.

    Raises
    ------
    ModelError
        If the folder holds none, or one that this version cannot use.
    """
    path = Path(folder) / CONTRACT_FILE
    if not path.is_file():
        raise ModelError(
            f"{folder} is not a model bundle",
            got=f"no {CONTRACT_FILE} in it",
            expected="contract.json, weights.safetensors and card.md",
            cure="give the folder of a bundle",
        )
    return _parsed(path.read_text(encoding="utf-8"), str(path))


@lru_cache(maxsize=16)
def _parsed(text: str, source: str) -> Contract:
    """Parse and check a contract once: every map of a batch asks for it."""
    return Contract.from_json(text, source=source)
