"""Real disks that are full or read-only (small tmpfs mounts): one sentence, nothing half-written, and it goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from emres.archive.mrc_write import write_mrc
from emres.archive.store import Store
from emres.volume.grid import Grid, make_volume
from tests.mirror import build_mirror

GRID = Grid((96, 96, 96), (1.5, 1.5, 1.5))  # 3.5 MB as float32


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small disk; called again with other options, it is mounted anew with the same content."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        mounted = subprocess.run(["mountpoint", "-q", folder], check=False).returncode == 0
        action = f"remount,{options}" if mounted else options
        command = ["mount", "-t", "tmpfs", "-o", action, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("this user may not mount a disk")
        return folder

    yield mount
    subprocess.run(["umount", "-l", folder], capture_output=True, check=False)


@pytest.fixture(scope="module")
def big_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    noise = np.random.default_rng(0).normal(size=GRID.shape).astype(np.float32)
    noise[20:70, 20:70, 20:70] += 5
    return write_mrc(tmp_path_factory.mktemp("big") / "big.mrc", make_volume(noise, GRID))


def content(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and ".work" not in path.parts]


def test_import_onto_a_full_disk_says_so_and_leaves_no_entry(emres, disk, big_map: Path) -> None:
    store = disk("size=2m") / "store"
    ended = emres("import", big_map, "--name", "big", "--to", store)
    assert ended.code == 1
    assert "disk is full" in ended.err
    assert "Traceback" not in ended.err
    assert content(store) == []
    disk("size=40m")
    assert emres("import", big_map, "--name", "big", "--to", store).code == 0


def test_fetch_onto_a_full_disk_goes_on_when_there_is_room(emres, disk, big_map: Path, tmp_path: Path) -> None:
    build_mirror(tmp_path / "mirror", {"EMD-0001": big_map})
    store = disk("size=5m") / "store"
    command = ("fetch", "EMD-0001", "--mirror", tmp_path / "mirror", "--to", store)
    ended = emres(*command)
    assert ended.code == 3
    assert "disk is full" in ended.err
    assert content(store) == []
    disk("size=40m")
    assert emres(*command).code == 0
    assert Store(store).entry("EMD-0001").has("map")


def test_predict_onto_a_full_disk_leaves_no_map_and_no_work(emres, disk, big_map: Path, toy_model: Path) -> None:
    out = disk("size=7m") / "out.mrc"
    ended = emres("predict", big_map, "-o", out, "--model", toy_model, "--mask", "none")
    assert ended.code == 1
    assert "disk is full" in ended.err
    assert list(out.parent.iterdir()) == []
    disk("size=60m")
    assert emres("predict", big_map, "-o", out, "--model", toy_model, "--mask", "none").code == 0


def test_a_read_only_store_can_be_read_but_not_written(
    emres, disk, big_map: Path, toy_model: Path, tmp_path: Path
) -> None:
    store = disk("size=40m") / "store"
    assert emres("import", big_map, "--name", "big", "--to", store).code == 0
    disk("ro")
    assert emres("ls", store, "--json").json[0]["name"] == "big"
    assert emres("export", store / "big.zarr", "--kind", "map", "-o", tmp_path / "back.mrc").code == 0
    for command in (("import", big_map, "--name", "new"), ("predict", "big", "--model", toy_model)):
        ended = emres(*command, "--to", store)
        assert ended.code == 1
        assert "read-only" in ended.err
        assert "Traceback" not in ended.err
