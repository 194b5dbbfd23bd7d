from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from emres.archive.emdb import Mirror
from emres.archive.entry import Entry
from emres.archive.mrc_write import write_mrc
from emres.archive.store import Store, open_volume
from emres.run import fetch as fetch_module
from emres.run.api import fetch
from emres.run.fetch import FetchPlan, fetch_into_store
from emres.volume.grid import Grid, make_volume
from tests.mirror import build_mirror

GRID = Grid((20, 24, 28), (2.0, 2.0, 2.0), (1.0, 2.0, 3.0))


def a_map(path: Path, seed: int = 0) -> Path:
    values = np.random.default_rng(seed).normal(size=GRID.shape).astype(np.float32)
    return write_mrc(path, make_volume(values, GRID))


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    maps = {
        kind: a_map(tmp_path / f"{kind}.mrc", seed)
        for seed, kind in enumerate(["map", "half_map_1", "half_map_2", "mask"])
    }
    gone = Entry("EMD-0003", "old", status="OBS", superseded_by=("EMD-0001",))
    return build_mirror(tmp_path / "mirror", {"EMD-0001": maps, "EMD-0002": maps["map"]}, others=[gone])


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are really downloaded."""
    names: list[str] = []
    real = fetch_module.download

    def recording(source, target: Path, **options):
        names.append(target.name)
        return real(source, target, **options)

    monkeypatch.setattr(fetch_module, "download", recording)
    return names


def test_an_entry_lands_whole_with_its_metadata_and_its_original_header(mirror: Mirror, tmp_path: Path) -> None:
    [outcome] = fetch("EMD-0001", tmp_path / "store", mirror=mirror)
    assert (outcome.status, outcome.facts["kinds"]) == ("done", ["map"])
    group = Store(tmp_path / "store").entry("EMD-0001")
    assert group.attributes()["entry"]["emdb_id"] == "EMD-0001"
    assert group.attributes("map")["mrc_header"]["mode"] == 2
    assert group.grid("map") == GRID
    expected = np.random.default_rng(0).normal(size=GRID.shape).astype(np.float32)
    assert np.array_equal(open_volume(group.path).values, expected)
    assert not list((tmp_path / "store").rglob("*.gz"))


def test_half_maps_and_masks_come_when_asked_for(mirror: Mirror, tmp_path: Path) -> None:
    fetch("EMD-0001", tmp_path / "store", mirror=mirror, half_maps=True, masks=True)
    assert Store(tmp_path / "store").entry("EMD-0001").kinds() == ["map", "half_map_1", "half_map_2", "mask"]


def test_no_file_is_fetched_twice(mirror: Mirror, tmp_path: Path, downloads: list[str]) -> None:
    statuses = [fetch("EMD-0001", tmp_path / "store", mirror=mirror)[0].status for _ in range(2)]
    fetch("EMD-0001", tmp_path / "store", mirror=mirror, half_maps=True)
    assert statuses == ["done", "skipped"]
    assert downloads == ["emd_0001.map.gz", "emd_0001_half_map_1.map.gz", "emd_0001_half_map_2.map.gz"]


def test_a_file_that_changed_in_the_archive_is_fetched_again(
    mirror: Mirror, tmp_path: Path, downloads: list[str]
) -> None:
    fetch("EMD-0002", tmp_path / "store", mirror=mirror)
    shutil.rmtree(tmp_path / "mirror")
    changed = build_mirror(tmp_path / "mirror", {"EMD-0002": a_map(tmp_path / "new.mrc", seed=9)})
    [outcome] = fetch("EMD-0002", tmp_path / "store", mirror=changed)
    assert outcome.status == "done"
    assert len(downloads) == 2
    expected = np.random.default_rng(9).normal(size=GRID.shape).astype(np.float32)
    assert np.array_equal(open_volume(tmp_path / "store/EMD-0002.zarr").values, expected)


def test_force_fetches_again(mirror: Mirror, tmp_path: Path, downloads: list[str]) -> None:
    for force in (False, True):
        fetch("EMD-0002", tmp_path / "store", mirror=mirror, force=force)
    assert len(downloads) == 2


def test_one_entry_that_fails_does_not_stop_the_others(mirror: Mirror, tmp_path: Path) -> None:
    outcomes = fetch(["EMD-0001", "EMD-0003", "EMD-9999", "EMD-339", "EMD-0002"], tmp_path / "store", mirror=mirror)
    found = {outcome.name: outcome for outcome in outcomes}
    assert {name for name, outcome in found.items() if outcome.status == "failed"} == {
        "EMD-0003",
        "EMD-9999",
        "EMD-339",
    }
    assert "EMD-0001" in found["EMD-0003"].reason
    assert "EMD-0339" in found["EMD-339"].reason
    assert [group.name for group in Store(tmp_path / "store")] == ["EMD-0001", "EMD-0002"]


def test_half_maps_that_do_not_exist_are_a_failure_and_leave_nothing(mirror: Mirror, tmp_path: Path) -> None:
    [outcome] = fetch("EMD-0002", tmp_path / "store", mirror=mirror, half_maps=True)
    assert "no half maps" in outcome.reason
    assert list(Store(tmp_path / "store")) == []


@pytest.mark.parametrize("damage", ["truncated", "page", "nan"])
def test_a_damaged_file_leaves_no_entry(mirror: Mirror, tmp_path: Path, damage: str) -> None:
    path = Path(mirror.url("structures/EMD-0002/map/emd_0002.map.gz"))
    content = path.read_bytes()
    if damage == "nan":
        raw = bytearray(gzip.decompress(content))
        raw[4000:4004] = np.float32(np.nan).tobytes()
        content = gzip.compress(bytes(raw))
    path.write_bytes({"truncated": content[:5000], "page": b"<html>moved</html>", "nan": content}[damage])
    (tmp_path / "mirror/status/latest/emdb_released_holdings.json").unlink()
    [outcome] = fetch("EMD-0002", tmp_path / "store", mirror=mirror)
    assert outcome.status == "failed"
    assert "emd_0002.map.gz" in outcome.reason
    assert list(Store(tmp_path / "store")) == []


def test_what_was_whole_stays_when_a_later_file_fails(mirror: Mirror, tmp_path: Path) -> None:
    fetch("EMD-0001", tmp_path / "store", mirror=mirror)
    Path(mirror.url("structures/EMD-0001/other/emd_0001_half_map_2.map.gz")).write_bytes(b"broken")
    [outcome] = fetch("EMD-0001", tmp_path / "store", mirror=mirror, half_maps=True)
    assert outcome.status == "failed"
    assert Store(tmp_path / "store").entry("EMD-0001").kinds() == ["map", "half_map_1"]


def test_a_reader_never_sees_half_a_map(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it streams into Zarr: the entry has no map yet, and the same call brings it."""
    store = Store(tmp_path / "store")
    plan = FetchPlan(store, mirror)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("emres.archive.writer.VolumeWriter.commit", die)
    with pytest.raises(KeyboardInterrupt):
        fetch_into_store("EMD-0002", plan)
    assert not store.entry("EMD-0002").has("map")
    monkeypatch.undo()
    assert fetch_into_store("EMD-0002", plan) == ["map"]
