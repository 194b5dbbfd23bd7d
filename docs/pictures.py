"""Draw ten real maps and, under each, a simulated one of the same sampling and resolution: docs/images/simulated.png.

    python docs/pictures.py ../shared/data/maps ../shared/data/models --to docs/images/simulated.png

MAPS holds maps and ``maps.tsv`` (columns file, emdb_id, reported_resolution_A, voxel_size_A); MODELS any mmCIF files.
Models and recipes are drawn from the seed, not picked: only voxel size and resolution come from the real map above.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image

from emres import read_mrc
from emres.simulate.atoms import read_atoms
from emres.simulate.deposit import deposit, kept_region
from emres.simulate.halfmaps import simulate_half_maps
from emres.simulate.recipes import draw_recipe

matplotlib.use("Agg")
from matplotlib import pyplot as plt

Array = np.ndarray[Any, Any]

COLUMNS, PAIRS = 5, 10
SHADES = 16  # of gray
NO_SINGLE_PARTICLES = ("EMD-8216", "EMD-3001")  # MicroED
LARGEST_EXTENT = 110.0  # Å, of a model


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("maps", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("--to", type=Path, default=Path(__file__).parent / "images/simulated.png")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = real_rows(options.maps)
    figure, axes = plt.subplots(
        2 * PAIRS // COLUMNS, COLUMNS, figsize=(2.1 * COLUMNS, 5.2 * PAIRS // COLUMNS), layout="constrained"
    )
    for k, row in enumerate(rows):
        above, below = axes[2 * (k // COLUMNS)][k % COLUMNS], axes[2 * (k // COLUMNS) + 1][k % COLUMNS]
        resolution, voxel_size = float(row["reported_resolution_A"]), float(row["voxel_size_A"])
        real = np.asarray(read_mrc(options.maps / row["file"]).values)
        show(above, fullest(real), f"{row['emdb_id']}\n{resolution:g} Å, {voxel_size:g} Å/voxel")
        name, section = simulated(options.models, options.seed + k, resolution, voxel_size)
        show(below, section, f"simulated: {name}\n{resolution:g} Å, {voxel_size:g} Å/voxel")
    save(figure, options.to)


def save(figure: Any, path: Path) -> None:
    """Save a picture without colours in few shades: noise takes many bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, dpi=80, format="png")
    Image.open(stream).convert("L").quantize(SHADES).save(path, "png", optimize=True)


def real_rows(folder: Path) -> list[dict[str, str]]:
    """Return the first ten single-particle maps of the table whose resolution is reported."""
    with (folder / "maps.tsv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    seen: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["reported_resolution_A"] and row["emdb_id"] and row["emdb_id"] not in NO_SINGLE_PARTICLES:
            seen.setdefault(row["emdb_id"], row)
    return list(seen.values())[:PAIRS]


def simulated(folder: Path, seed: int, resolution: float, voxel_size: float) -> tuple[str, Array]:
    """Return the name of a model that was drawn, and the section through the map simulated from it."""
    rng = np.random.default_rng([seed, 99])
    paths = sorted(folder.glob("*.cif*"))
    for index in rng.permutation(len(paths)):
        atoms = read_atoms(paths[index])
        if 18 * voxel_size < atoms.extent < LARGEST_EXTENT:
            break
    recipe = draw_recipe(seed, extent=atoms.extent, resolution=resolution, voxel_size=voxel_size)
    halves = simulate_half_maps(atoms, recipe)
    density, grid = deposit(halves)
    middle = np.argwhere(kept_region(halves, recipe.processing)).mean(axis=0)[0]
    plane = round(grid.to_index(halves.grid.to_angstrom((float(middle), 0.0, 0.0)))[0])
    return f"{paths[index].name.split('.')[0]} {recipe.symmetry}", density[min(max(plane, 0), len(density) - 1)]


def fullest(density: Array) -> Array:
    """Return the section in which a map has most of its high density."""
    return np.asarray(density[int((density > np.quantile(density, 0.98)).sum(axis=(1, 2)).argmax())])


def show(axes: Any, section: Array, title: str) -> None:
    """Show a section in grey, from the first to the last percent of what is not masked away."""
    inside = section[section != 0] if (section != 0).any() else section
    low, high = np.percentile(inside, (1, 99.8))
    axes.imshow(section, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title, fontsize=7)
    axes.axis("off")


if __name__ == "__main__":
    main()
