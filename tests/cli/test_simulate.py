"""``emres simulate``, as a user types it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from emres.archive.store import Store
from emres.simulate.recipes import RECIPES
from tests.cli.conftest import Ended
from tests.run.atomic_models import write_model

HALVES = ("--half-maps", "--voxel-size", "2.5", "--resolution", "7")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "1abc.pdb.gz")


def test_half_maps_come_into_a_store_once(emres: Callable[..., Ended], model: Path, tmp_path: Path) -> None:
    first = emres("simulate", model, *HALVES, "--count", "2", "--to", tmp_path / "store", "--json")
    assert first.code == 0
    assert [row["name"] for row in first.json] == ["1abc-1", "1abc-2"]
    assert [group.name for group in Store(tmp_path / "store")] == ["1abc-1", "1abc-2"]
    again = emres("simulate", model, *HALVES, "--count", "2", "--to", tmp_path / "store")
    assert again.code == 0
    assert again.out.count("skipped") == 2
    assert emres("ls", tmp_path / "store").code == 0
    assert emres("status", tmp_path / "store").code == 0


def test_a_plain_map_comes_into_a_file(emres, model: Path, tmp_path: Path) -> None:
    ended = emres("simulate", model, "--voxel-size", "2", "--resolution", "5", "-o", tmp_path / "plain")
    assert ended.code == 0
    assert "plain_map.mrc" in ended.out.replace("\n", "").replace(" ", "")
    assert emres("info", tmp_path / "plain_map.mrc").code == 0


def test_a_recipe_comes_from_a_file(emres, model: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('like = "low-resolution"\nseed = 12\n[framing]\npadding = 12.0\n')
    ended = emres("simulate", model, "--half-maps", "--recipe", recipe, "--to", tmp_path / "store", "--json")
    assert ended.code == 0
    (row,) = ended.json
    assert row["name"] == "1abc-12"
    assert Store(tmp_path / "store").entry("1abc-12").attributes()["entry"]["recipe"]["seed"] == 12


def test_a_model_that_fails_leaves_exit_code_3_and_the_others(emres, model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.pdb").write_text("nothing")
    ended = emres("simulate", tmp_path / "bad.pdb", model, *HALVES, "--to", tmp_path / "store")
    assert ended.code == 3
    assert "failed: bad-1: " in ended.err
    assert "Traceback" not in ended.err
    assert [group.name for group in Store(tmp_path / "store")] == ["1abc-1"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "neither"),
        (("--to", "s", "-o", "p"), "both"),
        (("--to", "s", "--recipe", "beautiful"), "no such recipe"),
        (("--to", "s", "--recipe", "gone.toml"), "cannot be read"),
        (("--to", "s", "--count", "0"), "count"),
        (("--to", "s", "--seed", "-1"), "seed"),
        (("--to", "s", "--cluster", "moon"), "unknown cluster"),
    ],
)
def test_wrong_words_are_exit_code_2(emres, model: Path, tmp_path, monkeypatch, options, told: str) -> None:
    monkeypatch.chdir(tmp_path)
    ended = emres("simulate", model, *HALVES, *options)
    assert ended.code == 2
    assert told in ended.err
    assert [path.name for path in tmp_path.iterdir()] == [model.name]


def test_a_place_that_cannot_be_written_is_told(emres, model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for where in (("--to", tmp_path / "file"), ("-o", tmp_path / "file/p")):
        ended = emres("simulate", model, *HALVES, *where)
        assert ended.code == 3
        assert "cannot be written" in ended.err


def test_help_names_every_recipe(emres) -> None:
    ended = emres("simulate", "--help")
    assert all(name in ended.out for name in RECIPES)
