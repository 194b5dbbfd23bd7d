"""``emres dataset``, as a user types it: models and entries to a data set, what it holds, cubes in and out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from emres.archive.manifest import read_dataset
from tests.cli.conftest import Ended
from tests.mirror import build_mirror, search_interface
from tests.run.atomic_models import write_models
from tests.run.halves import write_halves
from tests.run.test_build import KINDS, SMALL, store_with
from tests.run.test_cubes import content, cube_file

FEW = ("--fewest-voxels", "50")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_halves(tmp_path_factory.mktemp("halves"), SMALL)


def test_models_to_a_data_set_and_what_it_holds(emres: Callable[..., Ended], tmp_path: Path) -> None:
    models = write_models(tmp_path / "models", "1abc.pdb", "2xyz.pdb")
    (models / "bad.pdb").write_text("nothing")
    recipe = tmp_path / "mine.json"
    recipe.write_text(json.dumps({"like": "low-resolution", "framing": {"padding": 14.0}}))
    built = emres("dataset", "build", "--to", tmp_path / "set", "--simulate", models, "--recipe", recipe)
    assert built.code == 3
    assert "failed: bad-1: " in built.err
    assert "2 rows (2 train, 0 validation, 0 test)" in built.out
    shown = emres("dataset", "info", tmp_path / "set", "--picture", tmp_path / "pictures/set.png")
    assert shown.code == 0
    assert "█" in shown.out
    assert "the test side is empty" in shown.err
    assert (tmp_path / "pictures/set.png").read_bytes().startswith(b"\x89PNG")
    facts = emres("dataset", "info", tmp_path / "set", "--json").json
    assert facts["splits"]["train"]["entries"] == 2
    assert list(facts["left_out"]) == ["bad-1"]


def test_entries_of_a_store_by_name_list_and_all(emres, files, tmp_path: Path) -> None:
    store_with(tmp_path / "store", files, "a", "b", "c")
    (tmp_path / "list.txt").write_text("b # a word\n")
    (tmp_path / "f.tsv").write_text("a\t1\nb\t1\nc\t1\n")
    where = ("--to", tmp_path / "set", "--store", tmp_path / "store", "--families", tmp_path / "f.tsv", *FEW)
    assert emres("dataset", "build", *where, "--entries", "a,c", "--entries", tmp_path / "list.txt").code == 0
    assert [row.entry for row in read_dataset(tmp_path / "set").rows] == ["a", "b", "c"]
    assert {row.family for row in read_dataset(tmp_path / "set").rows} == {"1"}
    again = emres("dataset", "build", *where, "--all", "--json")
    assert [row["status"] for row in again.json] == ["skipped"] * 3


def test_what_a_query_finds_is_fetched(emres, files, tmp_path: Path) -> None:
    build_mirror(tmp_path / "mirror", {"EMD-0001": {kind: files[kind] for kind in KINDS}})
    with search_interface("resolution:[2 TO 6]", ["EMD-0001"]) as api:
        found = emres(
            "dataset", "build", "--to", tmp_path / "set", "--query", "resolution:[2 TO 6]", *FEW,
            "--mirror", tmp_path / "mirror", "--api", api,
        )  # fmt: skip
    assert found.code == 0, found.err
    assert [row.entry for row in read_dataset(tmp_path / "set").rows] == ["EMD-0001"]


def test_cubes_come_in_and_go_out(emres, tmp_path: Path) -> None:
    source = cube_file(tmp_path / "in.h5")
    where = ("--to", tmp_path / "set", "--split", "train", "--name", "old")
    assert emres("dataset", "import-hdf5", source, *where).code == 0
    assert emres("dataset", "export-hdf5", tmp_path / "set", "-o", tmp_path / "out.h5", "--json").json["cubes"] == 20
    assert (content(source)["map"] == content(tmp_path / "out.h5")["map"]).all()
    refused = emres("dataset", "export-hdf5", tmp_path / "set", "-o", tmp_path / "out.h5")
    assert (refused.code, "--force" in refused.err) == (2, True)
    assert emres("dataset", "export-hdf5", tmp_path / "set", "-o", tmp_path / "out.h5", "--force").code == 0


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (("build", "--to", "set"), 2, "no entry was named"),
        (("build", "--to", "set", "--all"), 2, "no entry was named"),
        (("build", "--to", "set", "--entries", "a", "--target", "magic"), 2, "unknown method"),
        (("build", "--to", "set", "--entries", "a", "--families", "gone.tsv"), 2, "cannot be read"),
        (("build", "--to", "set", "--simulate", "gone"), 2, "there is no folder"),
        (("build", "--to", "set", "--query", " "), 2, "the query is empty"),
        (("info", "set"), 1, "is not a data set"),
        (("import-hdf5", "gone.h5", "--to", "set", "--split", "train", "--name", "o"), 1, "there is no file"),
        (("import-hdf5", "gone.h5", "--to", "set", "--split", "train", "--name", "../o"), 2, "cannot be used as"),
        (("import-hdf5", "gone.h5", "--to", "set", "--split", "half", "--name", "o"), 2, "--split"),
        (("export-hdf5", "set", "-o", "out.h5"), 1, "is not a data set"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(emres, tmp_path, monkeypatch, command, code: int, told: str) -> None:
    monkeypatch.chdir(tmp_path)
    ended = emres("dataset", *command)
    assert ended.code == code
    assert told in ended.err
    assert "Traceback" not in ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["build", "info", "import-hdf5", "export-hdf5"])
def test_help_has_real_examples(emres, command: str) -> None:
    assert f"emres dataset {command} " in emres("dataset", command, "--help").out
