from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from emres.archive.mrc import read_mrc
from emres.archive.store import Store
from emres.cli.app import app
from emres.volume.grid import grid_of
from tests.cli.conftest import GRID


@pytest.mark.parametrize("command", [None, *app.commands])
def test_every_help_shows_a_real_example(emres, command: str | None) -> None:
    ended = emres(*([command] if command else []), "--help")
    assert ended.code == 0
    lines = [line.strip() for line in ended.out.splitlines()]
    assert any(line.startswith(f"emres {command or 'demo'}") for line in lines)
    assert "\\b" not in ended.out


def test_predict_writes_a_map_that_lies_on_its_input(emres, small_map: Path, toy_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "answer.mrc"
    ended = emres("predict", small_map, "-o", out, "--model", toy_model)
    assert ended.code == 0, ended.err
    assert "median local resolution" in ended.out
    volume = read_mrc(out)
    assert grid_of(volume).matches(GRID)
    assert 0 < (volume.values > 0).mean() < 0.6
    with mrcfile.open(out) as file:
        labels = [label.decode() for label in file.header.label[: int(file.header.nlabl)]]
    assert any("emres" in label and "local resolution" in label for label in labels)
    assert any("toy@1" in label for label in labels)
    assert [path.name for path in tmp_path.iterdir()] == ["answer.mrc"]


def test_predict_names_its_output_after_the_map(
    emres, small_map: Path, toy_model: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert emres("predict", small_map, "--model", toy_model).code == 0
    assert (tmp_path / "small_local_resolution.mrc").is_file()


def test_predict_never_replaces_a_file_unless_told(emres, small_map: Path, toy_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.mrc"
    out.write_bytes(b"precious")
    refused = emres("predict", small_map, "-o", out, "--model", toy_model)
    assert (refused.code, out.read_bytes()) == (2, b"precious")
    assert "--force" in refused.err
    assert emres("predict", small_map, "-o", out, "--model", toy_model, "--force").code == 0
    assert out.stat().st_size > 1000


def test_predict_speaks_json(emres, small_map: Path, toy_model: Path, tmp_path: Path) -> None:
    facts = emres("predict", small_map, "-o", tmp_path / "x.mrc", "--model", toy_model, "--json").json
    assert facts["model"] == "toy@1"
    assert facts["p05"] <= facts["median"] <= facts["p95"]
    assert facts["output"] == str(tmp_path / "x.mrc")


def test_a_map_of_ones_own_through_the_store(emres, small_map: Path, toy_model: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert emres("import", small_map, "--name", "mine", "--to", store).code == 0
    assert emres("predict", "mine", "--to", store, "--model", toy_model).code == 0
    [row] = emres("ls", store, "--json").json
    assert (row["name"], row["shape"]) == ("mine", list(GRID.shape))
    assert row["kinds"] == ["map", "local_resolution/toy@1"]
    assert "mine" in emres("ls", store).out
    assert emres("info", store / "mine.zarr", "--json").json["map"]["shape"] == list(GRID.shape)
    assert emres("export", store / "mine.zarr", "--kind", "map", "-o", tmp_path / "back.mrc").code == 0
    assert np.array_equal(read_mrc(tmp_path / "back.mrc").values, read_mrc(small_map).values)
    assert emres("status", store, "--json").json == {"entries": 1, "predicted": 1, "runs": [], "under_way": []}


def test_info_shows_the_header_of_a_file(emres, small_map: Path) -> None:
    facts = emres("info", small_map, "--json").json
    assert facts["shape"] == list(GRID.shape)
    np.testing.assert_allclose(facts["origin"], GRID.origin)


def test_fetch_from_a_folder_then_nothing_to_do(emres, mirror: Path, tmp_path: Path) -> None:
    first = emres("fetch", "EMD-0001", "emd_0002", "--mirror", mirror, "--to", tmp_path / "s", "--json")
    again = emres("fetch", "EMD-0001", "emd_0002", "--mirror", mirror, "--to", tmp_path / "s", "--json")
    assert [(ended.code, {row["status"] for row in ended.json}) for ended in (first, again)] == [
        (0, {"done"}),
        (0, {"skipped"}),
    ]
    assert [group.name for group in Store(tmp_path / "s")] == ["EMD-0001", "EMD-0002"]


def test_fetch_takes_a_list_with_comments(emres, mirror: Path, tmp_path: Path) -> None:
    listing = tmp_path / "ids.txt"
    listing.write_text("# mine\nEMD-0001  # good\n\nEMD-0002\n")
    assert emres("fetch", "--list", listing, "--mirror", mirror, "--to", tmp_path / "s").code == 0
    assert len(list(Store(tmp_path / "s"))) == 2


def test_dry_run_and_print_urls_fetch_nothing(emres, mirror: Path, tmp_path: Path) -> None:
    dry = emres("fetch", "EMD-0001", "--mirror", mirror, "--to", tmp_path / "s", "--dry-run")
    urls = emres("fetch", "EMD-0001", "--mirror", mirror, "--to", tmp_path / "s", "--print-urls")
    assert "to fetch" in dry.out
    assert urls.out.strip().endswith("structures/EMD-0001/map/emd_0001.map.gz")
    assert not (tmp_path / "s").exists()


def test_the_mirror_comes_from_the_environment(emres, mirror: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("EMRES_MIRROR", str(mirror))
    assert emres("fetch", "EMD-0001", "--to", tmp_path / "s").code == 0


def test_batch_predict_carries_on_past_a_failure_and_names_it(
    emres, mirror: Path, toy_model: Path, tmp_path: Path
) -> None:
    command = ("batch-predict", "EMD-0001", "EMD-0003", "EMD-0404", "EMD-0002", "--mirror", mirror,
               "--to", tmp_path / "s", "--model", toy_model, "--export", tmp_path / "out")  # fmt: skip
    ended = emres(*command)
    assert ended.code == 3
    assert "failed: EMD-0003: the map of EMD-0003 is constant" in ended.err
    assert "failed: EMD-0404" in ended.err
    exported = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert exported == ["EMD-0001_local_resolution.mrc", "EMD-0002_local_resolution.mrc"]
    again = emres(*command, "--json")
    assert again.code == 3
    assert {row["name"]: row["status"] for row in again.json} == {
        "EMD-0001": "skipped", "EMD-0002": "skipped", "EMD-0003": "failed", "EMD-0404": "failed",
    }  # fmt: skip


def test_batch_predict_all_of_a_mirror_dry_run(emres, mirror: Path, toy_model: Path, tmp_path: Path) -> None:
    ended = emres("batch-predict", "--all", "--mirror", mirror, "--to", tmp_path / "s", "--dry-run", "--json",
                  "--model", toy_model)  # fmt: skip
    assert {row["name"]: row["steps"] for row in ended.json}["EMD-0001"] == ["fetch", "predict"]
    assert not (tmp_path / "s").exists()


def test_batch_predict_on_a_cluster_says_where_the_dashboard_is(
    emres, mirror: Path, toy_model: Path, tmp_path: Path
) -> None:
    ended = emres(
        "batch-predict", "EMD-0001", "--mirror", mirror, "--to", tmp_path / "s", "--model", toy_model, "--cluster"
    )
    assert ended.code == 0, ended.err
    assert "dashboard: http://127.0.0.1:" in ended.out
    assert ended.err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["predict"], 2, "INPUT"),
        (["fetch"], 2, "no entry was named"),
        (["predict", "nowhere.mrc"], 1, "nowhere.mrc"),
        (["predict", "EMD-1"], 2, "emres fetch EMD-1"),
        (["ls", "nowhere"], 1, "no store"),
        (["export", "nowhere/EMD-0001.zarr"], 1, "EMD-0001.zarr"),
        (["batch-predict", "EMD-0001", "--to", "s", "--cluster", "pbs"], 2, "unknown cluster"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_wrong_calls_get_one_sentence_and_their_code(
    emres, tmp_path: Path, monkeypatch, arguments, code: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = emres(*arguments)
    assert ended.code == code
    assert says in ended.err
    assert "Traceback" not in ended.err


def test_errors_are_json_too(emres, tmp_path: Path) -> None:
    ended = emres("ls", tmp_path / "nowhere", "--json")
    assert ended.json["exit_code"] == ended.code == 1
    assert "no store" in ended.json["error"]


def test_quiet_prints_nothing(emres, mirror: Path, tmp_path: Path) -> None:
    ended = emres("fetch", "EMD-0001", "--mirror", mirror, "--to", tmp_path / "s", "-q")
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_a_reader_that_goes_away_gets_no_traceback(small_map: Path) -> None:
    command = f"{sys.executable} -m emres info {small_map} | head -n 1"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ended.stdout.startswith("file: ")
    assert ended.stderr == ""


def test_export_draws_a_picture_for_a_name_that_ends_in_png_or_on_request(
    emres, small_map: Path, toy_model: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    assert emres("predict", small_map, "--to", store, "--model", toy_model).code == 0
    (entry,) = store.glob("*.zarr")
    assert emres("export", entry, "-o", tmp_path / "a.png").code == 0
    assert emres("export", entry, "--format", "png", "-o", tmp_path).code == 0
    pictures = sorted(tmp_path.glob("*.png"))
    assert [path.name for path in pictures] == ["a.png", f"{entry.stem}_local_resolution.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
