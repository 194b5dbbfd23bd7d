"""What is to be simulated: of which model, by which recipe, under which name.

All that a map depends on is known before anything is computed: the bytes of the model, the plan, the version's seed,
the program. So what is there already is not made again, and the same command makes the same bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emres import __version__
from emres.archive.manifest import deposit_kind
from emres.errors import MapError, UsageError
from emres.run.jobs import hash_of_facts
from emres.run.simulated import Made, Place

if TYPE_CHECKING:
    from emres.simulate.atoms import Atoms
    from emres.simulate.recipe import Processing, Recipe

SUFFIXES = (".cif", ".mmcif", ".pdb", ".ent")
FIRST = 1  # number of the first version of a model

_SUFFIX = re.compile(r"(\.(gz|cif|mmcif|pdb|ent))+\Z", re.IGNORECASE)
_ODD = re.compile(r"[^A-Za-z0-9._@+-]+")


@dataclass(frozen=True)
class SimulationPlan:
    """What maps are to be made of every model.

    Parameters
    ----------
    half_maps : bool
        Two half maps with noise, their average as a depositor treats it, and the mask; else one plain map.
    voxel_size, resolution : float, optional
        Å. A plain map needs both; half maps take those of the recipe, or they are drawn.
    recipe : Recipe, optional
        Of half maps; drawn from the seed if there is none.
    seed : int, optional
        Number of the first version, 1 by default. Version k of a model is drawn from the SHA-256 of "<name> <k>", so
        that no two models share their noise. A recipe that brings a seed of its own keeps it if none is given here.
    count : int
        Versions of every model.
    box_size : int, optional
        Side of the box, voxels; one that fits by default.
    same_grid : bool
        Leave the deposited maps on the grid of the half maps: not resampled, and 0 where they are cropped.
    deposits : int
        Maps of every version: its half maps' average, treated in so many ways.

    Raises
    ------
    UsageError
        If the parts do not go together.
    """

    half_maps: bool = False
    voxel_size: float | None = None
    resolution: float | None = None
    recipe: Recipe | None = None
    seed: int | None = None
    count: int = 1
    box_size: int | None = None
    same_grid: bool = False
    deposits: int = 1

    def __post_init__(self) -> None:
        for what, value in (("voxel size", self.voxel_size), ("resolution", self.resolution), ("box", self.box_size)):
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"the {what} is not usable", got=f"{value:g}", expected="a positive number")
        if min(self.count, self.deposits) < 1 or (self.seed or 0) < 0:
            got = f"count {self.count}, deposits {self.deposits}, seed {self.seed}"
            raise UsageError("a count or seed is out of range", got=got)
        if self.half_maps:
            if self.count > 1 and self.seed is None and self._own_seed:
                raise UsageError("a recipe with a seed of its own is one version", cure="pass --seed beside --count")
            self._adapted(self.recipe)
            return
        if self.voxel_size is None or self.resolution is None:
            raise UsageError(
                "a plain map has one voxel size and one resolution",
                got=f"voxel size {self.voxel_size}, resolution {self.resolution}",
                expected="both, in Å",
                cure="pass --voxel-size and --resolution, or --half-maps to have them drawn",
            )
        if self.recipe is not None or max(self.count, self.deposits) > 1 or self.seed is not None:
            raise UsageError(
                "a plain map has no recipe and no versions", cure="pass --half-maps, or leave the recipe and seed out"
            )

    @property
    def _own_seed(self) -> bool:
        return self.recipe is not None and self.recipe.seed > 0

    @property
    def numbers(self) -> range:
        """The numbers of the versions."""
        own = self.recipe.seed if self.seed is None and self.recipe is not None and self._own_seed else FIRST
        first = own if self.seed is None else self.seed
        return range(first, first + self.count)

    def seed_of(self, name: str, number: int) -> int:
        """Return the seed of a version of a model."""
        if self.seed is None and self._own_seed:
            return number
        return int.from_bytes(hashlib.sha256(f"{name} {number}".encode()).digest()[:4])

    def recipe_for(self, atoms: Atoms, seed: int) -> Recipe:
        """Return the recipe of a version of a model.

        Raises
        ------
        UsageError
            If voxel size and resolution do not go together.
        """
        from emres.simulate.recipes import draw_recipe

        if self.recipe is None:
            drawn = draw_recipe(seed, extent=atoms.extent, voxel_size=self.voxel_size, resolution=self.resolution)
            return self._framed(drawn)
        return replace(self._adapted(self.recipe), seed=seed)

    def _adapted(self, recipe: Recipe | None) -> Recipe:
        from emres.simulate.recipe import Recipe as AnyRecipe

        recipe = recipe or AnyRecipe()
        if self.recipe is not None:
            recipe = recipe.at(resolution=self.resolution, voxel_size=self.voxel_size)
        return self._framed(recipe)

    def _framed(self, recipe: Recipe) -> Recipe:
        if self.same_grid:  # also in what is recorded
            recipe = replace(recipe, processing=_of_the_whole(recipe.processing))
        if self.box_size is None:
            return recipe
        return replace(recipe, framing=replace(recipe.framing, shape=(self.box_size,) * 3))

    def deposits_of(self, recipe: Recipe) -> dict[str, Processing]:
        """Return how each of a version's maps is treated: ``map``, and ``map_2`` and on."""
        from emres.simulate.processings import draw_deposits

        ways = draw_deposits(recipe, self.deposits)
        if self.same_grid:
            ways = tuple(map(_of_the_whole, ways))
        return {deposit_kind(number): way for number, way in enumerate(ways, start=1)}

    def facts(self) -> dict[str, Any]:
        """Return what decides the maps beside the model and the version, as JSON values."""
        recipe = self.recipe.to_json() if self.recipe else None
        left_out = {"recipe": None, "seed": None, "count": None}
        return {**asdict(replace(self, recipe=None)), **left_out, "recipe": recipe}


@dataclass(frozen=True)
class Simulation:
    """One map, or one set of half maps, that is to be made. Small: it is what a worker is sent.

    Parameters
    ----------
    model : Path
        PDB or mmCIF, may be gzipped.
    name : str
        Of the entry: that of the model, and the number of the version where there are versions.
    seed : int
        0 for a plain map.
    plan : SimulationPlan
    """

    model: Path
    name: str
    seed: int
    plan: SimulationPlan

    def run(self, place: Place) -> tuple[bool, dict[str, Any]]:
        """Make the maps and put them in their place, unless they are there; return whether they were made, and facts.

        Raises
        ------
        EmresError
            If the model cannot be read or does not go with the plan, or the place cannot be written.
        """
        model = {"name": model_name(self.model), "file": self.model.name, "sha256": _hash_of(self.model)}
        known = {"program": f"emres {__version__}", "model": model, "seed": self.seed, "plan": self.plan.facts()}
        fingerprint = hash_of_facts(known)
        kept = place.kept(self.name, fingerprint)
        if kept is not None:
            return False, kept
        made = self._made()
        about = {"title": f"{model['name']}, simulated", "method": "simulation", "model": model, "seed": self.seed}
        return True, place.put(self.name, fingerprint, replace(made, facts={**about, **made.facts}))

    def _made(self) -> Made:
        from emres.simulate.atoms import read_atoms

        atoms = read_atoms(self.model)
        return self._half_maps(atoms) if self.plan.half_maps else self._plain(atoms)

    def _half_maps(self, atoms: Atoms) -> Made:
        from emres.simulate.deposit import deposit
        from emres.simulate.halfmaps import simulate_half_maps

        plan, recipe = self.plan, self.plan.recipe_for(atoms, self.seed)
        halves = simulate_half_maps(atoms, recipe)
        kinds = {"half_map_1": halves.half_map_1, "half_map_2": halves.half_map_2, "mask": halves.mask}
        volumes = {kind: (values, halves.grid) for kind, values in kinds.items()}
        ways = plan.deposits_of(recipe)
        maps = {kind: deposit(halves, way, same_grid=plan.same_grid) for kind, way in ways.items()}
        about = {"resolution": recipe.resolution, "recipe": recipe.to_json()}
        if len(ways) > 1:
            about["deposits"] = {kind: asdict(way) for kind, way in ways.items()}
        return Made({**maps, **volumes}, about)

    def _plain(self, atoms: Atoms) -> Made:
        from emres.simulate.box import box_round
        from emres.simulate.density import plain_map
        from emres.simulate.halfmaps import check_memory

        plan, side = self.plan, self.plan.box_size
        grid = box_round(atoms, plan.voxel_size or 1.0, shape=(side, side, side) if side else None)
        check_memory(grid)
        resolution = plan.resolution or 2.0
        return Made({"map": (plain_map(atoms, grid, resolution), grid)}, {"resolution": resolution})


def simulations(models: Sequence[Path | str], plan: SimulationPlan) -> list[Simulation]:
    """Return the maps that a plan makes of models: ``3hsy`` for a plain one, ``3hsy-1``, ``3hsy-2``, … for versions.

    Raises
    ------
    UsageError
        If there is no model, or two would go by one name.
    """
    paths = [Path(model) for model in models]
    if not paths:
        raise UsageError("no model was named", expected="PDB or mmCIF files")
    names: dict[str, Path] = {}
    for path in dict.fromkeys(paths):
        name = model_name(path)
        if name in names:
            raise UsageError(f"two models would be called {name}", got=f"{names[name]} and {path}", cure="rename one")
        names[name] = path
    if not plan.half_maps:
        return [Simulation(path, name, 0, plan) for name, path in names.items()]
    return [
        Simulation(path, f"{name}-{number}", plan.seed_of(name, number), plan)
        for name, path in names.items()
        for number in plan.numbers
    ]


def _of_the_whole(processing: Processing) -> Processing:
    """Return a treatment that keeps all of the molecule, on its voxels: a target of the half maps is one of the map."""
    return replace(processing, region=1.0, voxel_size=0.0)


def model_name(path: Path) -> str:
    """Return what the maps of a model are called.

    Examples
    --------
    >>> model_name(Path("models/3hsy.cif.gz")), model_name(Path("my model (2).pdb"))
    ('3hsy', 'my_model_2')
    """
    stem = _ODD.sub("_", _SUFFIX.sub("", path.name)).strip("._-@+")[:80]
    if not stem:
        raise UsageError(f"{path} has no name that an entry could have", expected="letters or digits in it")
    return stem


def models_in(folder: Path | str) -> list[Path]:
    """Return the models in a folder, by name.

    Raises
    ------
    UsageError
        If there is no such folder, or no model in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", expected="a folder of PDB or mmCIF files")
    found = [p for p in sorted(folder.iterdir()) if p.name.lower().removesuffix(".gz").endswith(SUFFIXES)]
    if not found:
        raise UsageError(f"{folder} holds no atomic models", expected=", ".join(f"*{end}[.gz]" for end in SUFFIXES))
    return found


def _hash_of(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise MapError(f"{path} cannot be read", got=error.strerror, cure="check the path") from error
