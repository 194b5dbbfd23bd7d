from __future__ import annotations

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from emres.archive.mrc import read_mrc
from emres.archive.mrc_write import write_mrc
from emres.archive.store import Store
from emres.run.batch import BatchPlan, run_batch
from emres.volume.grid import grid_of
from tests.mirror import build_mirror
from tests.run.halves import HALVES, TOY, entry_of, write_halves


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_halves(tmp_path_factory.mktemp("halves"))


def halves(files: dict[str, Path]) -> list[object]:
    return ["--half-map-1", files["half_map_1"], "--half-map-2", files["half_map_2"]]


def test_two_half_maps_become_a_map_that_lies_on_them(emres, files, tmp_path: Path) -> None:
    out = tmp_path / "out.mrc"
    ended = emres("estimate", "--method", "fsc", *halves(files), "-o", out)
    assert ended.code == 0, ended.err
    assert "median local resolution" in ended.out
    assert "fsc-dense, threshold 0.143, window" in ended.out
    assert "unresolved: " in ended.out
    volume = read_mrc(out)
    assert grid_of(volume).matches(TOY)
    assert 0 < (volume.values > 0).mean() < 0.6
    with mrcfile.open(out) as file:
        assert b"method fsc, definition dense, threshold 0.143" in file.header.label.tobytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mrc"]


def test_the_output_is_named_after_the_first_half(emres, files, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert emres("estimate", "--method", "monores", *halves(files), "-q").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["half_map_1_local_resolution.mrc"]


def test_a_store_keeps_maps_and_result(emres, files, tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = emres("estimate", files["map"], "--method", "fsc", *halves(files), "--to", store, "--json").json
    assert first["store"] == str(store / "map.zarr/local_resolution/fsc-dense")
    assert "output" not in first
    assert Store(store).entry("map").kinds() == ["map", *HALVES, "local_resolution/fsc-dense"]
    again = emres("estimate", "map", "--method", "fsc", "--to", store, "--json").json
    assert (first["computed"], again["computed"], again["median"]) == (1, 0, first["median"])
    other = emres(
        "estimate", store / "map.zarr", "--method", "fsc", "--definition", "blocres", "--box", 16, "--step", 4, "--json"
    ).json
    assert (other["definition"], other["window"]) == ("blocres", pytest.approx(16 * 2.1))
    told = emres("info", store / "map.zarr", "--json").json["local_resolution/fsc-dense"]
    assert (told["method"], told["definition"], told["threshold"]) == ("fsc", "dense", 0.143)
    [outcome] = run_batch(["map"], BatchPlan(Store(store), "fsc"))
    assert (outcome.status, outcome.facts["median"]) == ("skipped", first["median"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{map}", "--method", "fsc"], "compares two half maps, and {map} is one map; pass both: --half-map-1"),
        (["--method", "fsc"], "got none"),
        (["--method", "resmap", "{halves}"], "resmap reads one map"),
        (["{map}", "--method", "resmap", "{halves}"], "and no half maps"),
        (["--method", "fsc", "--half-map-1", "{map}"], "one half map was given"),
        (["nowhere", "--method", "monores"], "there is no map nowhere"),
        (["{map}", "--method", "monores", "--sampling", "20"], "monores has no sampling"),
        (["{map}", "--method", "monores", "--mask", "nowhere.mrc"], "there is no mask nowhere.mrc"),
        (["--method", "fsc", "--threshold", "2", "{halves}"], "between 0 and 1"),
        (["--method", "fsc", "--window", "10", "{halves}"], "window is too narrow"),
    ],
)
def test_wrong_calls_are_told_what_to_do_and_leave_nothing(
    emres, files, tmp_path: Path, monkeypatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    filled = [part for word in words for part in (halves(files) if word == "{halves}" else [word.format(**files)])]
    ended = emres("estimate", *filled)
    assert ended.code == 2
    assert said.format(**files) in ended.err
    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_only_by_force(emres, files, tmp_path: Path) -> None:
    out = tmp_path / "mine.mrc"
    out.write_bytes(b"precious")
    refused = emres("estimate", files["map"], "--method", "monores", "-o", out)
    assert (refused.code, out.read_bytes()) == (2, b"precious")
    assert emres("estimate", files["map"], "--method", "monores", "-o", out, "--force").code == 0
    assert out.stat().st_size > 1000


def test_a_masked_map_is_warned_of_on_stderr(emres, files, tmp_path: Path) -> None:
    volume = read_mrc(files["map"]).copy()
    volume.values[volume.values < 0.9] = 0
    masked = write_mrc(tmp_path / "masked.mrc", volume)
    ended = emres("estimate", masked, "--method", "monores", "-o", tmp_path / "out.mrc", "--json")
    assert ended.code == 0
    assert f"warning: {masked}: The map looks masked" in ended.err
    assert "masked" in ended.json["warnings"][0]
    assert not emres("estimate", masked, "--method", "monores", "-o", tmp_path / "b.mrc", "-q").err
    emres("import", masked, "--name", "m", "--to", tmp_path / "store")
    batch = emres("batch-predict", "m", "--to", tmp_path / "store", "--model", "monores")
    assert (batch.code, "warning: m: The map looks masked" in batch.err) == (0, True)


def test_a_batch_fetches_the_half_maps_that_a_method_needs(emres, files, tmp_path: Path) -> None:
    build_mirror(tmp_path / "mirror", {"EMD-0001": files, "EMD-0002": files["map"]})
    common = ["--to", tmp_path / "store", "--mirror", tmp_path / "mirror", "--json"]
    ended = emres("batch-predict", "EMD-0001", "EMD-0002", "--model", "fsc", "--export", tmp_path / "out", *common)
    good, bad = ended.json
    assert (ended.code, good["status"], bad["status"]) == (3, "done", "failed")
    assert good["facts"]["model"] == "fsc-dense"
    assert "no half maps" in bad["reason"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["EMD-0001_local_resolution.mrc"]
    plan = emres("batch-predict", "EMD-0001", "--model", "fsc-relion", "--dry-run", *common).json
    assert plan == [{"name": "EMD-0001", "steps": ["estimate"]}]


def test_export_writes_a_filled_map(emres, files, tmp_path: Path) -> None:
    group = entry_of(files, Store(tmp_path / "store"))
    assert emres("estimate", group.path, "--method", "fsc").code == 0
    ended = emres("export", group.path, "-o", tmp_path / "out", "--filled")
    assert ended.code == 0, ended.err
    [path] = (tmp_path / "out").iterdir()
    assert path.name == "toy_local_resolution_filled.mrc"
    assert (read_mrc(path).values > 0).mean() > 0.1


def test_fsc_tells_numbers_and_writes_three_files(emres, files, tmp_path: Path) -> None:
    pair = [files[kind] for kind in HALVES]
    ended = emres("fsc", *pair, "-o", tmp_path / "toy")
    assert ended.code == 0, ended.err
    assert all(word in ended.out for word in ("unmasked", "masked", "corrected", "0.143", "toy_fsc.xml"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy_fsc.json", "toy_fsc.png", "toy_fsc.xml"]
    as_json = emres("fsc", *pair, "--json").json
    assert as_json.pop("output") == {}
    assert as_json == json.loads((tmp_path / "toy_fsc.json").read_text())
    assert np.all(np.diff(as_json["frequency"]) > 0)
    group = entry_of(files, Store(tmp_path / "store"))
    by_entry = emres("fsc", "toy", "--to", tmp_path / "store", "--json").json
    assert by_entry["resolution"] == as_json["resolution"]
    refused = emres("fsc", *pair, "-o", tmp_path / "toy")
    assert (refused.code, "--force" in refused.err) == (2, True)
    assert emres("fsc", group.path, "-o", tmp_path / "toy", "--force", "-q").out == ""


@pytest.mark.parametrize("words", [["{map}"], ["{map}", "nowhere.zarr"], ["{map}", "{map}", "{map}"]])
def test_fsc_wants_two_half_maps(emres, files, words: list[str]) -> None:
    ended = emres("fsc", *(word.format(**files) for word in words))
    assert (ended.code, "between two half maps" in ended.err) == (2, True)
