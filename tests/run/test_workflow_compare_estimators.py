"""The estimators side by side on one entry, at toy size: a picture, a page, and the reason of each that cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.image import imread

from emres.archive.store import Store, open_entry
from tests.mirror import build_mirror
from tests.run.halves import entry_of, write_halves
from tests.run.workflows import assert_public_and_short, run


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_halves(tmp_path_factory.mktemp("maps"))


def test_four_estimators_of_an_archive_entry_on_one_picture_and_one_page(
    tmp_path: Path, maps: dict[str, Path], toy_model: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    mirror = build_mirror(tmp_path / "mirror", {"EMD-0001": maps})
    to, methods = tmp_path / "to", ("fsc", "monores", "resmap", toy_model)
    options = ("emd_0001", "--to", to, "--mirror", mirror.root, "--methods", *methods)
    assert run("compare_estimators", *options, monkeypatch=monkeypatch) == 0
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines() if "median" in line] == [
        "fsc-dense", "monores", "resmap", "toy@1",
    ]  # fmt: skip
    height, width, _ = imread(to / "EMD-0001_comparison.png").shape
    assert width > 2 * height
    page = (to / "EMD-0001_report.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("fsc-dense", "monores", "resmap", "toy@1"))
    entry = open_entry(to / "store/EMD-0001.zarr")
    before = {kind: (entry.path / kind / "zarr.json").stat().st_mtime_ns for kind in entry.results()}
    assert run("compare_estimators", *options, monkeypatch=monkeypatch) == 0
    assert {kind: (entry.path / kind / "zarr.json").stat().st_mtime_ns for kind in entry.results()} == before


def test_without_half_maps_the_fsc_is_told_and_the_others_go_on(
    tmp_path: Path, maps: dict[str, Path], toy_model: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    entry_of(maps, Store(tmp_path / "store"), "mine", kinds=("map",))
    options = ("mine", "--to", tmp_path, "--methods", "fsc", toy_model)
    assert run("compare_estimators", *options, monkeypatch=monkeypatch) == 3
    assert "failed: fsc: " in capsys.readouterr().out
    assert (tmp_path / "mine_comparison.png").is_file()


def test_where_nothing_can_be_had_nothing_is_left(
    tmp_path: Path, maps: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror = build_mirror(tmp_path / "mirror", {"EMD-0001": maps["map"]})
    options = ("--to", tmp_path / "to", "--mirror", mirror.root, "--methods", "fsc", "fsc-relion")
    for entry, reason in (
        ("EMD-0001", "has no half maps"),
        ("EMD-9999", "there is no entry"),
        ("../x", "cannot be"),
    ):
        assert run("compare_estimators", entry, *options, monkeypatch=monkeypatch) == 3
        assert reason in capsys.readouterr().out
    assert not any((tmp_path / "to").rglob("*.png"))


def test_the_recipe_is_short_and_uses_public_names_alone() -> None:
    assert_public_and_short("compare_estimators.py")
