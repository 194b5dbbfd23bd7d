"""Recipes say what they mean, survive JSON and TOML, and name what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emres.errors import UsageError
from emres.simulate.recipe import Envelope, Framing, Processing, Recipe, Surroundings
from emres.simulate.recipe_files import find_recipe, read_recipe, recipe_from
from emres.simulate.recipes import RECIPES, draw_recipe


@pytest.mark.parametrize("recipe", [*RECIPES.values(), *(draw_recipe(seed, extent=80.0) for seed in range(5))])
def test_json_brings_a_recipe_back(recipe: Recipe) -> None:
    assert recipe_from(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_tuples_and_what_is_left_out_survive_json() -> None:
    recipe = Recipe(framing=Framing(shape=(40, 50, 61)), envelope=Envelope(defocus=(9000.0, 9500.0)))
    assert recipe_from(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert "shape" not in Recipe().to_json()["framing"]  # TOML knows no null
    assert recipe_from({}) == Recipe()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"resolutoin": 3.0}, r"a recipe has no resolutoin: expected one of seed, voxel_size, resolution"),
        ({"noise": {"colour": 1}}, r"no noise\.colour: expected one of power, anisotropy"),
        ({"noise": 0.5}, r"noise is of the wrong type: got 0\.5, expected a table"),
        ({"seed": 1.5}, r"seed is of the wrong type: got 1\.5, expected a whole number"),
        ({"seed": True}, r"seed is of the wrong type: got True"),
        ({"voxel_size": "1.06"}, r"voxel_size is of the wrong type: got '1\.06', expected a number"),
        ({"framing": {"cubic": 1}}, r"framing\.cubic is of the wrong type: got 1, expected true or false"),
        ({"framing": {"shape": [64, 64]}}, r"framing\.shape .* expected a list of 3 numbers"),
        ({"framing": {"shape": [64, 64, 64.5]}}, r"framing\.shape .* got 64\.5, expected a whole number"),
        (
            {"framing": {"shape": [64, 64, 2]}},
            r"framing's shape is out of range: got \(64, 64, 2\), expected at least 8",
        ),
        ({"voxel_size": 0}, r"voxel_size is out of range: got 0\.0, expected 0\.1 to 50"),
        ({"voxel_size": float("nan")}, r"voxel_size is out of range: got nan"),
        ({"motion": {"fading": 1.2}}, r"motion's fading is out of range: got 1\.2, expected 0 to 1"),
        ({"symmetry": "T"}, r"symmetry is unknown: got 'T', expected C1 to C60 or D1 to D60"),
        ({"envelope": {"ctf": "phase"}}, r"envelope's ctf is unknown: got 'phase', expected none, flipped, wiener"),
        ({"resolution": 2.0, "voxel_size": 1.2}, r"too coarse for its resolution: got 1\.2 Å voxels for 2 Å"),
        ({"like": "no such"}, r"no such recipe: got 'no such', expected one of typical"),
        ([1], r"not a table: got list"),
    ],
)
def test_what_is_wrong_is_named(values: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        recipe_from(values)


def test_a_toml_file_starts_from_a_named_recipe(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('like = "membrane"\nseed = 7\n[noise]\npower = 1\n')
    recipe = find_recipe(path)
    assert (recipe.seed, recipe.noise.power) == (7, 1.0)
    assert recipe.surroundings == RECIPES["membrane"].surroundings
    assert find_recipe("membrane") is RECIPES["membrane"]


@pytest.mark.parametrize(
    ("name", "text"), [("a.toml", "seed = = 1"), ("a.json", "{"), ("a.json", "[1]"), ("a.toml", None)]
)
def test_a_file_that_is_no_recipe_is_refused_by_its_name(tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=r"recipe"):
        read_recipe(tmp_path / name)


def test_another_resolution_carries_b_factors_and_lengths_along() -> None:
    recipe = Recipe(resolution=3.0, processing=Processing(sharpening=-80.0, low_pass=3.0))
    coarse = recipe.at(resolution=6.0, voxel_size=2.0)
    assert coarse.envelope.b_factor == 4 * recipe.envelope.b_factor
    assert coarse.motion.field == 4 * recipe.motion.field
    assert coarse.motion.field_length == 2 * recipe.motion.field_length
    assert (coarse.processing.sharpening, coarse.processing.low_pass) == (-320.0, 6.0)
    assert recipe.at() == recipe


def test_drawn_recipes_differ_repeat_and_cover_what_they_promise() -> None:
    recipes = [draw_recipe(seed) for seed in range(300)]
    assert recipes == [draw_recipe(seed) for seed in range(300)]
    sizes, resolutions = ([getattr(r, name) for r in recipes] for name in ("voxel_size", "resolution"))
    assert (min(sizes) < 0.6, max(sizes) > 3.5, min(resolutions) < 2.0, max(resolutions) > 13) == (True,) * 4
    assert all(0.5 <= size <= 4 for size in sizes)
    assert all(1.8 <= r <= 15 for r in resolutions)
    processed = [r.processing for r in recipes]
    assert 0.1 < sum(p == Processing() for p in processed) / 300 < 0.4
    for kind in ("fsc_weighting", "sharpening", "low_pass", "crop", "voxel_size"):
        assert sum(bool(getattr(p, kind)) for p in processed) > 30, kind
    assert {p.mask for p in processed} == {"none", "molecule", "sphere"}
    assert sum(p.region < 1 for p in processed) > 10
    assert sum(r.surroundings.micelle > 0 for r in recipes) > 30
    assert {"C1", "C4", "D2"} <= {r.symmetry for r in recipes}


def test_a_draw_fits_the_model_and_what_is_given() -> None:
    for seed in range(40):
        large, small = draw_recipe(seed, extent=220.0), draw_recipe(seed, extent=30.0)
        assert 220 / large.voxel_size < 160
        assert small.crowd * 30 / small.voxel_size > 11
        assert draw_recipe(seed, voxel_size=1.5).voxel_size == 1.5
        fixed = draw_recipe(seed, resolution=3.0)
        assert (fixed.resolution, fixed.voxel_size <= 1.5) == (3.0, True)
    with pytest.raises(UsageError, match="too coarse"):
        draw_recipe(1, voxel_size=2.0, resolution=3.0)


def test_more_of_one_thing_leaves_the_others_alone() -> None:
    """Recipes are values: a group can be replaced without naming the rest."""
    assert Recipe(surroundings=Surroundings(micelle=0.5)).noise == Recipe().noise
