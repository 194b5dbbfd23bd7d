"""Every bad input gets one clear sentence, an exit code, and leaves nothing half-written."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emres.archive.entry import Entry
from emres.archive.mrc_write import write_mrc
from emres.archive.store import Store
from emres.volume.grid import Grid, make_volume
from tests.cli.conftest import GRID
from tests.mirror import build_mirror
from tests.run.conftest import toy_density

Damage = Callable[[bytearray], bytes]


def field(offset: int, kind: str, *values: float) -> Damage:
    def damage(raw: bytearray) -> bytes:
        raw[offset : offset + struct.calcsize(kind)] = struct.pack(kind, *values)
        return bytes(raw)

    return damage


BAD_MAPS: dict[str, tuple[str, Damage, str]] = {
    "a truncated gz": ("m.map.gz", lambda raw: gzip.compress(bytes(raw))[:-5000], "cut short or corrupt"),
    "a corrupt gz": ("m.map.gz", lambda raw: flipped(gzip.compress(bytes(raw))), "corrupt"),
    "a web page": ("m.map.gz", lambda raw: b"<!DOCTYPE html><html>Not found</html>" * 50, "HTML"),
    "an empty file": ("m.mrc", lambda raw: b"", "empty"),
    "a file shorter than its header says": ("m.mrc", lambda raw: bytes(raw[:-4000]), "bytes"),
    "a file longer than its header says": ("m.mrc", lambda raw: bytes(raw) + b"\1" * 5000, "bytes"),
    "a voxel size of 0": ("m.mrc", field(40, "<3f", 0, 0, 0), "--voxel-size"),
    "an absurd voxel size": ("m.mrc", field(40, "<3f", 1e7, 1e7, 1e7), "--voxel-size"),
    "a NaN": ("m.mrc", field(1024 + 40_000, "<f", float("nan")), "NaN"),
    "an infinity": ("m.mrc", field(1024 + 40_000, "<f", float("inf")), "infinity|Inf|inf"),
    "complex voxels": ("m.mrc", field(12, "<i", 4), "complex"),
    "a 2-D image": ("m.mrc", lambda raw: field(8, "<i", 1)(raw)[: 1024 + 4 * GRID.shape[1] * GRID.shape[2]], "image"),
    "bad axes": ("m.mrc", field(64, "<3i", 1, 1, 2), "axis|axes"),
    "a constant map": ("m.mrc", lambda raw: bytes(raw[:1024]) + np.full(GRID.voxels, 3, "<f4").tobytes(), "constant"),
    "an all-zero map": ("m.mrc", lambda raw: bytes(raw[:1024]) + bytes(4 * GRID.voxels), "constant"),
}


def flipped(packed: bytes) -> bytes:
    damaged = bytearray(packed)
    for place in range(len(damaged) // 2, len(damaged) // 2 + 64):
        damaged[place] ^= 0xFF
    return bytes(damaged)


@pytest.mark.parametrize("what", BAD_MAPS)
def test_a_bad_map_gets_one_sentence_and_leaves_nothing(
    emres, small_map: Path, toy_model: Path, tmp_path: Path, what: str
) -> None:
    name, damage, says = BAD_MAPS[what]
    source = tmp_path / "in" / name
    source.parent.mkdir()
    source.write_bytes(damage(bytearray(small_map.read_bytes())))
    (tmp_path / "out").mkdir()
    ended = emres("predict", source, "-o", tmp_path / "out" / "x.mrc", "--model", toy_model)
    assert ended.code == 1
    sentence = ended.err.strip().splitlines()[-1]
    assert sentence.startswith("emres: ")
    assert any(word in sentence for word in says.split("|")), sentence
    assert "Traceback" not in ended.err
    assert list((tmp_path / "out").iterdir()) == []


def test_a_voxel_size_from_the_command_line_mends_the_header(
    emres, small_map: Path, toy_model: Path, tmp_path: Path
) -> None:
    source = tmp_path / "m.mrc"
    source.write_bytes(field(40, "<3f", 0, 0, 0)(bytearray(small_map.read_bytes())))
    command = ("predict", source, "-o", tmp_path / "x.mrc", "--model", toy_model, "--voxel-size", 2.1)
    assert emres(*command).code == 0


@pytest.fixture
def archive(tmp_path: Path, small_map: Path) -> Path:
    gone = Entry("EMD-0008", "old", status="OBS", superseded_by=("EMD-0001",))
    held = Entry("EMD-0009", "secret", status="HPUB")
    build_mirror(tmp_path / "mirror", {"EMD-0001": small_map}, others=[gone, held])
    return tmp_path / "mirror"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("EMD-0404", "EMD-0404"),
        ("EMD-0008", "EMD-0001"),
        ("EMD-0009", "hold"),
        ("EMD-339", "EMD-0339"),
        ("../../etc/passwd", "EMDB id|cannot be used"),
        ("EMD-0001/../x", "EMDB id|cannot be used"),
    ],
)
def test_a_bad_accession_fails_alone(emres, archive: Path, tmp_path: Path, name: str, says: str) -> None:
    ended = emres("fetch", name, "EMD-0001", "--mirror", archive, "--to", tmp_path / "s")
    assert ended.code == 3
    failures = [line for line in ended.err.splitlines() if line.startswith("failed: ")]
    assert len(failures) == 1
    assert any(word in failures[0] for word in says.split("|")), failures
    assert [group.name for group in Store(tmp_path / "s")] == ["EMD-0001"]


def test_a_wrong_checksum_is_an_integrity_error_and_leaves_no_entry(emres, archive: Path, tmp_path: Path) -> None:
    path = archive / "status/latest/emdb_released_holdings.json"
    holdings = json.loads(path.read_text())
    holdings["EMD-0001"]["map"][0]["md5_checksum"] = "0" * 32
    path.write_text(json.dumps(holdings))
    ended = emres("fetch", "EMD-0001", "--mirror", archive, "--to", tmp_path / "s")
    assert ended.code == 3
    assert "MD5" in ended.err or "checksum" in ended.err
    assert list(Store(tmp_path / "s")) == []


def test_a_mirror_that_names_files_outside_its_folders_gets_nothing_written(
    emres, archive: Path, tmp_path: Path
) -> None:
    for path in (
        archive / "structures/EMD-0001/header/emd-0001.xml",
        archive / "status/latest/emdb_released_holdings.json",
    ):
        path.write_text(path.read_text().replace("emd_0001.map.gz", "../../../../evil.map.gz"))
    ended = emres("fetch", "EMD-0001", "--mirror", archive, "--to", tmp_path / "deep/er/s")
    assert "Traceback" not in ended.err
    assert not list(tmp_path.rglob("*evil*"))


def test_no_network_is_told_and_nothing_is_made(emres, tmp_path: Path, monkeypatch) -> None:
    from emres.archive import emdb
    from emres.archive.manners import Patience

    monkeypatch.setattr(emdb, "_PATIENCE", Patience(tries=2, first_delay=0.01))
    monkeypatch.setattr(emdb.fetch_entry, "__kwdefaults__", {"patience": Patience(tries=2, first_delay=0.01)})
    ended = emres("fetch", "EMD-0001", "--mirror", "http://127.0.0.1:9/", "--to", tmp_path / "s")
    assert ended.code == 3
    assert "cannot be reached" in ended.err
    assert not (tmp_path / "s").exists()


def test_a_store_written_by_a_newer_version_is_left_alone(
    emres, small_map: Path, toy_model: Path, tmp_path: Path
) -> None:
    store = tmp_path / "s"
    assert emres("import", small_map, "--name", "new", "--to", store).code == 0
    path = store / "new.zarr/zarr.json"
    path.write_text(
        path.read_text()
        .replace('"format_version": 1', '"format_version": 99')
        .replace('"format_version":1', '"format_version":99')
    )
    before = path.read_bytes()
    for command in (("predict", "new", "--model", toy_model), ("import", small_map, "--name", "new")):
        ended = emres(*command, "--to", store)
        assert ended.code == 1
        assert "newer emres" in ended.err
    assert path.read_bytes() == before


def test_weights_whose_hash_does_not_match_are_refused(emres, small_map: Path, toy_model: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(toy_model, model)
    weights = model / "weights.safetensors"
    weights.write_bytes(flipped(weights.read_bytes()))
    ended = emres("predict", small_map, "-o", tmp_path / "x.mrc", "--model", model)
    assert ended.code == 1
    assert "sha256" in ended.err.lower() or "hash" in ended.err
    assert not (tmp_path / "x.mrc").exists()


def test_a_pickle_is_never_opened_as_a_model(emres, small_map: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.pth"
    model.write_bytes(b"\x80\x04cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR.")
    assert emres("predict", small_map, "-o", tmp_path / "x.mrc", "--model", model).code != 0
    assert not (tmp_path / "owned").exists()


def test_a_mask_on_another_grid_is_told_with_both(emres, small_map: Path, toy_model: Path, tmp_path: Path) -> None:
    other = Grid((30, 30, 30), (2.1, 2.1, 2.1))
    mask = write_mrc(tmp_path / "mask.mrc", make_volume(toy_density(other), other))
    ended = emres("predict", small_map, "-o", tmp_path / "x.mrc", "--model", toy_model, "--mask", mask)
    assert ended.code == 1
    assert "another grid" in ended.err
    assert not (tmp_path / "x.mrc").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["mask.mrc"]
