"""Training examples: atomic models -> simulated half maps -> targets, split by family.

It lives here because it needs the simulation, the estimator and the training's records together.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.errors import UsageError
from emres.volume.density import robust_statistics
from emres.volume.masking import grown

if TYPE_CHECKING:
    from emres.model.patches import Example
    from emres.simulate.atoms import Atoms

Array = np.ndarray[Any, Any]

SPLITS = ("train", "validation", "test")

# Voxels along the longest side of the molecule; smaller is a speck, bigger is slow.
SMALLEST, LARGEST = 22, 76
# With fewer voxels that have a target an example is left out.
FEWEST_VOXELS = 500
# Window of the target's local FSC, voxels, and resolution it must hold at least 4 times.
WINDOW, WINDOW_OVER_RESOLUTION = 24, 4


@dataclass(frozen=True)
class ModelRow:
    """One atomic model of the table ``models.tsv``."""

    file: str
    family: str
    extent: float
    split: str


def read_model_table(folder: Path | str) -> list[ModelRow]:
    """Read ``models.tsv`` and put every family on one side of the split.

    A family's side is drawn from the hash of its number: 15 % validation, 15 % test, whatever else the table holds.

    Parameters
    ----------
    folder : path
        Holds ``models.tsv`` and the files that it names.

    Returns
    -------
    list of ModelRow

    Raises
    ------
    UsageError
        If there is no such table.
    """
    table = Path(folder) / "models.tsv"
    if not table.is_file():
        raise UsageError(f"{table} is missing", cure="give the folder that holds the models and models.tsv")
    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    return [
        ModelRow(
            row["file"],
            row["family"],
            max(float(row[f"extent_{axis}_A"]) for axis in "xyz"),
            split_of(row["family"]),
        )
        for row in rows
    ]


def split_of(family: str) -> str:
    """Return the side of the split that a family is on.

    Examples
    --------
    >>> split_of("1") == split_of("1")
    True
    """
    share = hashlib.sha256(f"family {family}".encode()).digest()[0] / 256
    return "test" if share < 0.15 else "validation" if share < 0.30 else "train"


def kept_examples(keep_in: Path | str, examples: Iterator[Example], count: int) -> list[Example]:
    """Return examples from disk, or make them and write them there.

    Parameters
    ----------
    keep_in : path
        A folder for these examples alone; made if missing.
    examples : iterator of Example
        Not touched if the folder already holds all of them.
    count : int

    Returns
    -------
    list of Example
        Without those that hardly have a target: where the noise wins everywhere.
    """
    from emres.model.patches import read_example, write_example

    keep_in = Path(keep_in)
    keep_in.mkdir(parents=True, exist_ok=True)
    paths = [keep_in / f"{index:05d}.npz" for index in range(count)]
    if not all(path.is_file() for path in paths):
        for path, example in zip(paths, examples, strict=True):
            write_example(path, example)
    read = (read_example(path) for path in paths)
    return [example for example in read if example.weight.sum() >= FEWEST_VOXELS]


def simulate_examples(
    folder: Path | str, rows: Sequence[ModelRow], *, count: int, variants: int, octaves: int, seed: int
) -> Iterator[Example]:
    """Simulate half maps of models and give each its target.

    Parameters
    ----------
    folder : path
        Where the models lie.
    rows : sequence of ModelRow
        Gone through again and again, in an order drawn from the seed.
    count : int
        Examples.
    variants : int
        Processed versions of each pair of half maps; the first is the plain average.
    octaves : int
        Working grids of 1.5 Å times 1, 2, .. 2**octaves; coarse ones hold several copies of a small model.
    seed : int

    Yields
    ------
    Example
    """
    from emres.simulate.atoms import read_atoms
    from emres.simulate.recipes import draw_recipe

    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(rows)) for _ in range(-(-count // len(rows)))])[:count]
    for index, k in enumerate(order):
        row = rows[k]
        voxel_size = 1.5 * 2.0 ** int(rng.choice(octaves + 1, p=_octave_shares(octaves)))
        while row.extent / voxel_size > LARGEST:
            voxel_size *= 2
        atoms = _filling(read_atoms(Path(folder) / row.file), voxel_size, rng)
        recipe = replace(draw_recipe(seed * 100_000 + index, voxel_size=voxel_size), symmetry="C1")
        yield _example(atoms, row, recipe, variants)


def _octave_shares(octaves: int) -> list[float]:
    """Return how often each working grid is drawn: most maps lie on the finest."""
    shares = 0.45 ** np.arange(octaves + 1)
    return list(shares / shares.sum())


def _filling(atoms: Atoms, voxel_size: float, rng: np.random.Generator) -> Atoms:
    """Return as many copies of a model as make an object of a fair size on a coarse grid, thinned to few atoms."""
    from emres.simulate.atoms import crowd

    per_side = max(1, round(rng.uniform(1.5, 2.5) * SMALLEST * voxel_size / atoms.extent))
    if atoms.extent / voxel_size >= SMALLEST or per_side == 1:
        return atoms
    return crowd(atoms, per_side, thinning=max(1.0, voxel_size / 1.5) ** 2, rng=rng)


def _example(atoms: Atoms, row: ModelRow, recipe: Any, variants: int) -> Example:
    """Simulate one pair of half maps, estimate its target, process its average in several ways."""
    from emres.estimators.fsc import dense_fsc
    from emres.model.patches import Example
    from emres.simulate.deposit import deposit
    from emres.simulate.halfmaps import simulate_half_maps
    from emres.simulate.recipe import Processing
    from emres.simulate.recipes import draw_processing

    halves = simulate_half_maps(atoms, recipe)
    window = max(WINDOW * recipe.voxel_size, WINDOW_OVER_RESOLUTION * recipe.resolution)
    estimate = dense_fsc(halves.half_map_1, halves.half_map_2, recipe.voxel_size, window=window)
    drawn = (
        draw_processing(recipe.seed + 7 * k, recipe.resolution, recipe.voxel_size, same_grid=True)
        for k in range(1, variants)
    )
    processings = [Processing(), *drawn]
    ratio = estimate.resolution / recipe.voxel_size
    return Example(
        name=f"{row.file.split('.')[0]}-{recipe.seed}",
        family=row.family,
        voxel_size=recipe.voxel_size,
        densities=np.stack([normalised(deposit(halves, how)[0], halves.mask) for how in processings]),
        target=np.log(ratio).astype(np.float16),
        # One voxel more than the molecule: the mask of a real map is never as tight.
        weight=grown(halves.mask) & (ratio < 0.98 * window / recipe.voxel_size),
    )


def normalised(density: Array, mask: Array) -> Array:
    """Centre and scale a map as the contract states; float16."""
    statistics = robust_statistics(density, mask)
    return np.asarray((density - statistics.centre) / statistics.scale, dtype=np.float16)
