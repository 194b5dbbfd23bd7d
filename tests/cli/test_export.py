from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emres.archive.mrc import read_mrc
from emres.cli.export import FORMATS
from emres.run import export_shown


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory, small_map: Path, toy_model: Path) -> Path:
    """An entry with a local resolution."""
    from emres.run.single import predict_input

    store = tmp_path_factory.mktemp("export") / "store"
    predict_input(str(small_map), store=store, model=str(toy_model))
    return store / "small.zarr"


def test_the_formats_of_the_command_are_those_there_are() -> None:
    assert FORMATS == export_shown.FORMATS


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("mrc", "small_local_resolution.mrc"),
        ("filled-mrc", "small_local_resolution_filled.mrc"),
        ("chimerax", "small_chimerax"),
        ("json", "small_local_resolution.json"),
        ("png", "small_local_resolution.png"),
        ("glb", "small_local_resolution.glb"),
    ],
)
def test_every_format_is_written_and_named(emres, predicted: Path, tmp_path: Path, form: str, name: str) -> None:
    ended = emres("export", predicted, "--format", form, "-o", tmp_path, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["output"] == str(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert ("contour_level" in ended.json) == (form in ("chimerax", "png", "glb"))


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("a.GLB", b"glTF"), ("a.json", b"{"), ("a.map", None)]
)
def test_the_format_follows_the_files_name(
    emres, predicted: Path, tmp_path: Path, name: str, start: bytes | None
) -> None:
    assert emres("export", predicted, "-o", tmp_path / name).code == 0
    data = (tmp_path / name).read_bytes()
    assert data.startswith(start) if start else data[208:212] == b"MAP "


def test_filled_is_the_same_as_its_format(emres, predicted: Path, tmp_path: Path) -> None:
    for name, options in (("a.mrc", ["--filled"]), ("b.mrc", ["--format", "filled-mrc"]), ("c.mrc", [])):
        assert emres("export", predicted, "-o", tmp_path / name, *options).code == 0
    first, second, bare = (read_mrc(tmp_path / f"{name}.mrc").values for name in "abc")
    assert np.array_equal(first, second)
    assert (first > 0).sum() > (bare > 0).sum()


def test_a_map_file_and_a_local_resolution_of_any_program(
    emres, predicted: Path, small_map: Path, tmp_path: Path
) -> None:
    assert emres("export", predicted, "-o", tmp_path / "r.mrc").code == 0
    pair = ("export", small_map, "--local-resolution", tmp_path / "r.mrc")
    assert emres(*pair, "-o", tmp_path / "a.json").code == 0
    assert emres("export", predicted, "-o", tmp_path / "b.json").code == 0
    assert json.loads((tmp_path / "a.json").read_text()) == json.loads((tmp_path / "b.json").read_text())
    assert (
        emres(*pair, "--format", "chimerax", "-o", tmp_path / "cx", "--palette", "viridis", "--level", "0.8").code == 0
    )
    assert "level 0.8" in (tmp_path / "cx" / "small.cxc").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--filled", "--format", "png"], "--filled"),
        (["--format", "glb", "--kind", "map"], "only a local resolution"),
        (["--format", "glb", "--palette", "mauve"], "unknown palette"),
        (["--format", "png", "--level", "1e9"], "no surface"),
        (["--format", "mrc", "--local-resolution", "x.mrc"], "--format png"),
    ],
)
def test_wrong_usage_is_told_and_leaves_nothing(
    emres, predicted: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    ended = emres("export", predicted, "-o", tmp_path, *arguments)
    assert ended.code in (1, 2)
    assert told in ended.err
    assert not list(tmp_path.iterdir())


def test_a_map_file_alone_is_told_what_is_missing(emres, small_map: Path, tmp_path: Path) -> None:
    ended = emres("export", small_map, "--format", "png", "-o", tmp_path)
    assert ended.code == 2
    assert "--local-resolution" in ended.err
