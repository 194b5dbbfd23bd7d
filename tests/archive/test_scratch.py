"""Scratch in memory and on disk: the code that uses them cannot tell them apart."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from emres.archive.scratch import DiskScratch, MemoryScratch, Scratch, other_folders


@pytest.fixture(params=["memory", "disk"])
def scratch(request: pytest.FixtureRequest, tmp_path: Path) -> Scratch:
    return MemoryScratch() if request.param == "memory" else DiskScratch(tmp_path / "work" / "job")


@pytest.mark.parametrize("dtype", ["float32", "bool", "uint8", "float16"])
@pytest.mark.parametrize("chunk", [64, 4, (8, 4, 2)])
def test_arrays_begin_as_zeros_and_keep_what_is_written(scratch: Scratch, dtype: str, chunk: object) -> None:
    array = scratch.create("density", (9, 10, 11), dtype, chunk=chunk)
    assert (array.shape, array.dtype) == ((9, 10, 11), np.dtype(dtype))
    assert not np.asarray(array[...]).any()
    expected = np.zeros((9, 10, 11), dtype)
    part = np.random.default_rng(0).random((3, 10, 5)).round().astype(dtype)
    expected[2:5, :, 6:] = part
    array[2:5, :, 6:] = part
    found = scratch.open("density")
    np.testing.assert_array_equal(found[...], expected)
    np.testing.assert_array_equal(found[4, 2:, 7], expected[4, 2:, 7])
    assert isinstance(found[1:3], np.ndarray)


def test_what_is_written_after_opening_is_seen(scratch: Scratch) -> None:
    scratch.create("done", (2, 2, 2), "bool")
    scratch.open("done")[0, 1, 0] = True
    assert np.argwhere(scratch.open("done")[...]).tolist() == [[0, 1, 0]]


def test_creating_again_begins_anew(scratch: Scratch) -> None:
    scratch.create("a", (4, 4, 4), "float32")[...] = 7
    scratch.create("b", (4, 4, 4), "float32")[...] = 8
    scratch.create("a", (3, 4, 5), "float32")
    assert scratch.open("a").shape == (3, 4, 5)
    assert not scratch.open("a")[...].any()
    assert (scratch.open("b")[...] == 8).all()


def test_an_array_that_was_not_made_is_a_key_error(scratch: Scratch) -> None:
    for _ in range(2):
        with pytest.raises(KeyError, match="density"):
            scratch.open("density")
        scratch.note(ready=False)


def test_notes_add_up_beside_the_arrays(scratch: Scratch) -> None:
    assert scratch.notes() == {}
    scratch.note(centre=0.1, scale=2.5)
    scratch.create("density", (4, 4, 4), "float32")
    scratch.note(ready=True, scale=3.0)
    assert scratch.notes() == {"centre": 0.1, "scale": 3.0, "ready": True}


def test_changing_what_was_read_changes_no_notes(scratch: Scratch) -> None:
    scratch.note(ready=True)
    scratch.notes()["ready"] = False
    assert scratch.notes() == {"ready": True}


def test_clearing_drops_everything_and_can_be_repeated(scratch: Scratch) -> None:
    scratch.clear()
    scratch.create("density", (4, 4, 4), "float32")
    scratch.note(ready=True)
    for _ in range(2):
        scratch.clear()
        assert scratch.notes() == {}
        with pytest.raises(KeyError):
            scratch.open("density")
    scratch.create("density", (5, 5, 5), "float32")
    assert scratch.open("density").shape == (5, 5, 5)


def test_clearing_on_disk_leaves_nothing_of_its_folder(tmp_path: Path) -> None:
    scratch = DiskScratch(tmp_path / "job")
    scratch.create("density", (4, 4, 4), "float32")[...] = 1
    scratch.clear()
    assert list(tmp_path.iterdir()) == []


def test_scratch_on_disk_goes_to_a_worker_and_is_met_again(tmp_path: Path) -> None:
    scratch = DiskScratch(tmp_path / "job")
    scratch.create("density", (4, 4, 4), "float32")[...] = 3
    scratch.note(ready=True)
    for other in (pickle.loads(pickle.dumps(scratch)), DiskScratch(tmp_path / "job")):
        assert other.notes() == {"ready": True}
        assert (other.open("density")[...] == 3).all()


def test_looking_creates_nothing(tmp_path: Path) -> None:
    scratch = DiskScratch(tmp_path / "job")
    assert scratch.notes() == {}
    with pytest.raises(KeyError):
        scratch.open("density")
    scratch.clear()
    assert list(tmp_path.iterdir()) == []


def test_only_older_jobs_of_the_same_result_are_stale(tmp_path: Path) -> None:
    present = "local_resolution+a@1-0123456789abcdef-192"
    stale = ["local_resolution+a@1-fedcba9876543210-192", "local_resolution+a@1-0123456789abcdef-96"]
    others = [
        present,
        "local_resolution+a@1",  # a result being written
        "local_resolution+a@1.lock",
        "local_resolution+a@1-beta",
        "local_resolution+a@1-beta-fedcba9876543210-192",  # another model
        "local_resolution+a@1+half_map_1-fedcba9876543210-192",  # another map
        "map",
    ]
    for name in (*stale, *others):
        (tmp_path / name).mkdir()
    found = other_folders(tmp_path, "local_resolution+a@1", present)
    assert sorted(path.name for path in found) == sorted(stale)
    assert other_folders(tmp_path / "absent", "local_resolution+a@1", present) == []
