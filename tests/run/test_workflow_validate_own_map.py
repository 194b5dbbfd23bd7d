"""A facility's own half maps, validated at toy size: files, exit codes, and what is told of bad ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from emres.archive.mrc import read_mrc
from emres.archive.mrc_write import write_mrc
from emres.volume.grid import Grid, make_volume
from tests.run.conftest import toy_density
from tests.run.halves import HALVES, TOY
from tests.run.workflows import assert_public_and_short, run


def write_halves(folder: Path, noise: float = 0.3) -> dict[str, Path]:
    """Write half maps whose FSC falls, as blurred blobs do under white noise; return the files by kind."""
    density, rng = gaussian_filter(toy_density(TOY), 1.2), np.random.default_rng(1)
    halves = {kind: density + noise * rng.normal(size=TOY.shape).astype(np.float32) for kind in HALVES}
    folder.mkdir(parents=True, exist_ok=True)
    volumes = halves | {"map": gaussian_filter(sum(halves.values()), 0.5)}
    return {kind: write_mrc(folder / f"{kind}.mrc", make_volume(values, TOY)) for kind, values in volumes.items()}


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_halves(tmp_path_factory.mktemp("maps"))


@pytest.fixture
def validate(
    tmp_path: Path, maps: dict[str, Path], toy_model: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Any:  # fmt: skip
    def validated(*options: object, first: Path = maps["half_map_1"], second: Path = maps["half_map_2"]) -> Any:
        command = (first, second, "--to", tmp_path / "to", "--model", toy_model, "--json", *options)
        ended = run("validate_own_map", *command, monkeypatch=monkeypatch)
        found = json.loads(capsys.readouterr().out)
        assert found["exit_code"] == ended
        return found

    return validated


def test_half_maps_become_numbers_files_and_a_page_and_the_second_time_nothing_is_computed(
    validate: Any, tmp_path: Path, maps: dict[str, Path]
) -> None:
    found = validate("--limit", "20")
    assert (found["exit_code"], found["problems"]) == (0, [])
    assert 2 * TOY.voxel_size[0] < found["resolution"]["0.143"] < found["resolution"]["0.5"] < 20
    assert set(found["local_resolution"]) == {"fsc-dense", "toy@1"}
    to = tmp_path / "to"
    assert json.loads((to / "map.json").read_text(encoding="utf-8")) == found
    for end in ("fsc.json", "fsc.png", "fsc.xml", "report.html"):
        assert (to / f"map_{end}").is_file()
    assert Path(found["report"]).read_text(encoding="utf-8").count("fsc-dense")
    for model in ("fsc", "toy"):
        answer = read_mrc(to / "maps" / model / "map_local_resolution.mrc")
        assert np.array_equal(answer.coords["z"], read_mrc(maps["half_map_1"]).coords["z"])
    before = {path: path.stat().st_mtime_ns for path in (to / "store").rglob("c/0/0/0")}
    assert validate("--limit", "20") == found
    assert {path: path.stat().st_mtime_ns for path in (to / "store").rglob("c/0/0/0")} == before


def test_a_pipeline_learns_of_a_map_that_is_too_coarse(validate: Any) -> None:
    found = validate("--limit", "4.3")
    assert found["exit_code"] == 4
    assert "coarser than the limit of 4.3 Å" in found["problems"][0]


def test_one_map_given_twice_is_a_problem(validate: Any, maps: dict[str, Path]) -> None:
    found = validate("--map", maps["map"], second=maps["half_map_1"])
    assert found["exit_code"] == 4
    assert any("never falls" in problem for problem in found["problems"])
    assert any("the same map" in problem for problem in found["problems"])


def test_other_maps_under_the_same_name_are_another_answer(validate: Any, tmp_path: Path) -> None:
    found = validate()
    noisier = write_halves(tmp_path / "noisier", noise=1.5)
    other = validate(first=noisier["half_map_1"], second=noisier["half_map_2"])
    assert other["resolution"]["0.143"] > found["resolution"]["0.143"]
    assert other["local_resolution"]["fsc-dense"] != found["local_resolution"]["fsc-dense"]


def test_maps_that_cannot_be_used_are_one_sentence_and_leave_no_report(
    validate: Any, tmp_path: Path, maps: dict[str, Path]
) -> None:
    cut = tmp_path / "cut.mrc"
    cut.write_bytes(maps["half_map_2"].read_bytes()[:-1000])
    small = Grid((40, 40, 40), TOY.voxel_size)
    other = write_mrc(tmp_path / "other.mrc", make_volume(np.ones(small.shape, dtype=np.float32), small))
    for second, reason in ((tmp_path / "none.mrc", "none.mrc"), (cut, "cut.mrc"), (other, "another grid")):
        found = validate(second=second)
        assert found["exit_code"] == 1
        assert reason in found["error"]
        assert not (tmp_path / "to/map_report.html").exists()
    assert validate("--name", "../x")["exit_code"] == 2


def test_a_folder_that_takes_no_files_is_told(validate: Any, tmp_path: Path) -> None:
    (tmp_path / "to").write_text("")
    assert validate()["exit_code"] == 1
    (tmp_path / "to").unlink()
    validate()
    shutil.rmtree(tmp_path / "to/store")  # the files beside it do not hinder a second run
    assert validate()["exit_code"] == 0


def test_the_recipe_is_short_and_uses_public_names_alone() -> None:
    assert_public_and_short("validate_own_map.py")
