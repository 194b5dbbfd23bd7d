"""Simulated maps a minute on two cores, and one map over the drawing and transforms that it can not do without."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import numpy as np
from scipy import fft

from benchmarks.report import Row, seconds, side_by_side
from emres.simulate.atoms import Atoms
from emres.simulate.density import scattering_spectrum
from emres.simulate.deposit import deposit
from emres.simulate.halfmaps import assemble, simulate_half_maps
from emres.simulate.recipe import Framing, Recipe
from emres.simulate.recipes import RECIPES

SIDES = {"small": 48, "full": 128, "large": 256}
MAPS = {"small": 2, "full": 24, "large": 8}
# A small protein and a large complex: atoms, and the share of the box's side that they span.
OBJECTS = {"small": {"protein": (300, 0.5)}, "full": {"protein": (4500, 0.45), "complex": (60_000, 0.75)}}
# Signal, solvent and two halves need these many transforms beside the atoms' own; the filters of a deposit four more.
TRANSFORMS = 11
_SPACING = 20.0  # Å^3 an atom, as in protein


def measure(size: str) -> list[Row]:
    """Return seconds a map on two processes, and one map over its floor on one."""
    rows = []
    for name, (count, share) in OBJECTS.get(size, OBJECTS["full"]).items():
        atoms = ball(count)
        recipe = boxed(RECIPES["typical"], atoms, SIDES[size], share)
        rows += [_a_minute(name, atoms, recipe, size), _over_floor(name, atoms, recipe)]
    return rows


def ball(count: int) -> Atoms:
    """Return so many atoms packed in a ball, B factors of 10 to 60."""
    rng = np.random.default_rng(0)
    radius = (3 * count * _SPACING / (4 * np.pi)) ** (1 / 3)
    offset = rng.normal(size=(count, 3))
    offset *= radius * rng.uniform(size=(count, 1)) ** (1 / 3) / np.linalg.norm(offset, axis=1, keepdims=True)
    return Atoms(offset, rng.choice([6, 6, 6, 7, 8], count), rng.uniform(10, 60, count), np.ones(count))


def boxed(recipe: Recipe, atoms: Atoms, side: int, share: float) -> Recipe:
    """Return a recipe whose box is a cube of ``side`` voxels that the atoms span a share of."""
    voxel_size = atoms.extent / (share * side)
    scaled = recipe.at(resolution=3 * voxel_size, voxel_size=voxel_size)
    return replace(scaled, framing=Framing(shape=(side, side, side)))


def one_map(atoms: Atoms, recipe: Recipe, seed: int) -> float:
    """Simulate half maps and what is deposited of them; return a number of the map."""
    density, _ = deposit(simulate_half_maps(atoms, replace(recipe, seed=seed)))
    return float(density.max())


def _a_minute(name: str, atoms: Atoms, recipe: Recipe, size: str) -> Row:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        work = partial(one_map, atoms, recipe)
        list(pool.map(work, range(4)))
        wall = seconds(lambda: list(pool.map(work, range(MAPS[size]))))
    side = SIDES[size]
    told = f"{60 * MAPS[size] / wall:.0f} maps of {side}^3 a minute: half maps and deposit, {len(atoms)} atoms"
    return Row(f"{name}: a map, 2 processes", wall / MAPS[size], unit="s", how=told)


def _over_floor(name: str, atoms: Atoms, recipe: Recipe) -> Row:
    whole, floor = side_by_side(partial(one_map, atoms, recipe, 0), partial(_floor, atoms, recipe))
    before = time.process_time()
    one_map(atoms, recipe, 0)
    spent = time.process_time() - before
    told = f"{whole:.2f} s / {floor:.2f} s: its atoms drawn and {TRANSFORMS} transforms; {spent:.2f} s of processor"
    return Row(f"{name}: a map / its floor", whole / floor, how=told)


def _floor(atoms: Atoms, recipe: Recipe) -> None:
    particle, grid = assemble(atoms, recipe)
    scattering_spectrum(particle, grid)
    volume = np.zeros(grid.shape, dtype=np.float32)
    for _ in range(TRANSFORMS):
        fft.rfftn(volume)
