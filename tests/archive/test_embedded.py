"""The archive that ships with emres."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from emres.archive.download import download
from emres.archive.emdb import all_ids, embedded_mirror, fetch_entry

ROOT = Path(__file__).parents[2]
MAPS = ROOT / "../shared/data/maps"
IDS = ["EMD-1439", "EMD-1461", "EMD-1832", "EMD-3197", "EMD-6824"]


def test_every_embedded_entry_can_be_fetched_and_verified(tmp_path: Path) -> None:
    mirror = embedded_mirror()
    assert all_ids(mirror) == IDS
    for emdb_id in IDS:
        file = fetch_entry(mirror, emdb_id).file("map")
        assert file.md5
        assert download(mirror.url(file.path), tmp_path / file.name, md5=file.md5).stat().st_size > 10_000


def test_what_is_a_crop_says_so_and_nothing_is_invented() -> None:
    entries = {emdb_id: fetch_entry(embedded_mirror(), emdb_id) for emdb_id in IDS}
    assert [emdb_id for emdb_id, entry in entries.items() if entry.title.startswith("[crop]")] == ["EMD-1461"]
    assert all(emdb_id in entry.title for emdb_id, entry in entries.items())
    assert {emdb_id: entry.resolution for emdb_id, entry in entries.items()} == {
        "EMD-1439": 14,
        "EMD-1461": 3.8,
        "EMD-1832": None,
        "EMD-3197": None,
        "EMD-6824": 5.8,
    }
    assert all(entry.contour_level is None and entry.release_date is None for entry in entries.values())


@pytest.mark.skipif(not MAPS.is_dir(), reason="the shared maps are not beside this checkout")
def test_the_script_builds_exactly_what_ships(tmp_path: Path) -> None:
    build = runpy.run_path(str(ROOT / "workflows/build_embedded_archive.py"))["build"]
    assert sorted(build(MAPS, tmp_path)) == IDS
    shipped = Path(embedded_mirror().root)
    built = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    beside = {Path("README.md"), Path("LICENSE")}
    assert built == sorted({path.relative_to(shipped) for path in shipped.rglob("*") if path.is_file()} - beside)
    assert all((tmp_path / path).read_bytes() == (shipped / path).read_bytes() for path in built)
