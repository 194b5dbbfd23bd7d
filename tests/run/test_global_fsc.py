from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from emres.archive.mrc_write import write_mrc
from emres.archive.store import Store
from emres.errors import MapError, UsageError
from emres.run.global_fsc import fsc_of_entry, fsc_of_files, write_fsc
from emres.volume.grid import Grid, make_volume
from tests.run.halves import HALVES, entry_of, reference, toy_halves, write_halves


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_halves(tmp_path_factory.mktemp("halves"))


def pair(files: dict[str, Path]) -> list[Path]:
    return [files[kind] for kind in HALVES]


def test_files_and_entry_tell_the_same(files: dict[str, Path], tmp_path: Path) -> None:
    by_files = fsc_of_files(pair(files), device="cpu").to_json()
    by_entry = fsc_of_entry(entry_of(files, Store(tmp_path)).path, device="cpu").to_json()
    assert by_files["curves"] == by_entry["curves"]
    assert set(by_files["curves"]) == {"unmasked", "masked", "randomised", "corrected"}
    assert set(by_files["resolution"]) == {"unmasked", "masked", "corrected"}
    assert by_files["resolution"]["masked"]["0.143"] <= by_files["resolution"]["masked"]["0.5"]


def test_without_a_mask_there_is_one_curve(files: dict[str, Path]) -> None:
    report = fsc_of_files(pair(files), mask="none").to_json()
    assert (report["best"], list(report["curves"]), report["randomised_beyond"]) == ("unmasked", ["unmasked"], None)


def test_the_files_hold_the_same_curve(files: dict[str, Path], tmp_path: Path) -> None:
    report = fsc_of_files(pair(files))
    written = write_fsc(report, tmp_path / "new" / "toy")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "toy_fsc.json", "toy_fsc.png", "toy_fsc.xml",
    ]  # fmt: skip
    kept = json.loads(Path(written["json"]).read_text())
    root = ElementTree.parse(written["xml"]).getroot()
    assert (root.tag, root.attrib["xaxis"], root.attrib["yaxis"]) == (
        "fsc", "Resolution (A-1)", "Correlation Coefficient",
    )  # fmt: skip
    points = [(float(point.find("x").text), float(point.find("y").text)) for point in root.iter("coordinate")]
    assert points == list(zip(kept["frequency"], kept["curves"]["corrected"], strict=True))
    assert Path(written["png"]).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match=r"toy_fsc\.json and .* exists already"):
        write_fsc(report, tmp_path / "new" / "toy")
    write_fsc(report, tmp_path / "new" / "toy", overwrite=True)


def test_half_maps_on_different_grids_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    other = Grid((40, 40, 40), (2.1,) * 3)
    small = write_mrc(tmp_path / "small.mrc", make_volume(toy_halves(other)[0], other))
    with pytest.raises(MapError, match="another grid"):
        fsc_of_files([files["half_map_1"], small])


def test_the_global_resolution_of_an_object_is_what_its_simulation_says(tmp_path: Path) -> None:
    """Object c was made to cross 0.143 at 3.40 Å and 0.5 at 4.24 Å in its soft mask."""
    maps = reference("c")
    paths = {kind: write_mrc(tmp_path / f"{kind}.mrc", maps[kind]) for kind in (*HALVES, "mask")}
    report = fsc_of_files(pair(paths), mask=str(paths["mask"]))
    assert report.fsc.resolution(0.143, "masked") == pytest.approx(3.40, abs=0.15)
    assert report.fsc.resolution(0.5, "masked") == pytest.approx(4.24, abs=0.3)
    assert np.abs(report.fsc.curves["randomised"][-10:]).max() < 0.1
