"""Half maps whose resolution is where the recipe puts it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emres.simulate.atoms import Atoms
from emres.simulate.halfmaps import HalfMaps, simulate_half_maps
from emres.simulate.recipe import Recipe

RECIPE = Recipe(seed=1, voxel_size=1.5, resolution=5.0).at(resolution=5.0)


@pytest.fixture(scope="module")
def halves(globule: Atoms) -> HalfMaps:
    return simulate_half_maps(globule, RECIPE)


def test_same_recipe_same_bytes(globule: Atoms, halves: HalfMaps) -> None:
    again = simulate_half_maps(globule, RECIPE)
    assert again.half_map_1.tobytes() == halves.half_map_1.tobytes()
    assert again.half_map_2.tobytes() == halves.half_map_2.tobytes()
    other = simulate_half_maps(globule, replace(RECIPE, seed=2))
    assert other.half_map_1.tobytes() != halves.half_map_1.tobytes()
