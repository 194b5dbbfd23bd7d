"""The disk: its errors in words, folders that appear whole, files that only one run writes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from emres.archive.disk import disk_errors, move_into_place, only_writer, open_locked, replaced_file
from emres.archive.scratch import DiskScratch
from emres.archive.store import Store
from emres.errors import StoreError
from tests.archive.volumes import files_in, noise, written

WORDS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "quota is used up; free some space",
    errno.EROFS: "read-only; choose a folder",
    errno.EACCES: "permission denied; choose a folder",
    errno.EPERM: "permission denied; choose a folder",
    errno.EEXIST: "in the way; choose another path",
    errno.ENOTDIR: "is a file, not a folder; choose another path",
}


@pytest.mark.parametrize(("number", "words"), WORDS.items())
def test_errors_of_the_disk_are_told_in_words(number: int, words: str) -> None:
    with pytest.raises(StoreError, match=f"maps/a cannot be written: .*{words}") as caught, disk_errors("maps/a"):
        raise OSError(number, os.strerror(number))
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), ValueError("odd"), KeyboardInterrupt()])
def test_other_errors_pass_unchanged(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, disk_errors("maps/a"):
        raise error
    assert caught.value is error


def write_a_map(store: Store) -> None:
    written(store.entry("EMD-1"), "map", noise())


def write_scratch(store: Store) -> None:
    DiskScratch(store.path / "job").create("a", (4, 4, 4), "float32")


def write_a_note(store: Store) -> None:
    DiskScratch(store.path / "job").note(ready=True)


def create_an_entry(store: Store) -> None:
    store.create("EMD-2", {})


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("write", [write_a_map, write_scratch, write_a_note, create_an_entry])
def test_every_writer_tells_of_a_disk_that_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, write: Callable[[Store], None]
) -> None:
    store = Store(tmp_path)
    store.create("EMD-1", {})
    before = files_in(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        # Through Zarr, and past it.
        for way in ("zarr.storage._local._put", "pathlib.Path.write_bytes", "pathlib.Path.write_text"):
            patched.setattr(way, refuse)
        with pytest.raises(StoreError, match="cannot be written"):
            write(store)
    assert files_in(tmp_path) == before


def test_a_store_whose_path_is_a_file_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file/store"):
        with pytest.raises(StoreError, match="file"):
            Store(path).create("EMD-1", {})


def folder(path: Path, content: str) -> Path:
    path.mkdir(parents=True)
    (path / "content").write_text(content)
    return path


def test_a_folder_moves_to_a_place_that_is_not_there_yet(tmp_path: Path) -> None:
    move_into_place(folder(tmp_path / "work/a", "new"), tmp_path / "group/deep/a")
    assert files_in(tmp_path) == {"group/deep/a/content": b"new"}


def test_a_folder_replaces_an_older_one_wholly(tmp_path: Path) -> None:
    folder(tmp_path / "group/a", "old")
    (tmp_path / "group/a/more").write_text("old")
    folder(tmp_path / "work/a.old", "of a killed run")
    move_into_place(folder(tmp_path / "work/a", "new"), tmp_path / "group/a")
    assert files_in(tmp_path) == {"group/a/content": b"new"}


def test_if_the_new_folder_cannot_come_the_old_one_stays(tmp_path: Path) -> None:
    folder(tmp_path / "group/a", "old")
    (tmp_path / "work").mkdir()
    with pytest.raises(FileNotFoundError):
        move_into_place(tmp_path / "work/a", tmp_path / "group/a")
    assert files_in(tmp_path) == {"group/a/content": b"old"}


@pytest.mark.skipif(os.name == "nt", reason="no file locks of this kind")
def test_only_one_run_writes_and_the_next_may_when_it_is_done(tmp_path: Path) -> None:
    for _ in range(2):
        with only_writer(tmp_path / "map"):
            with pytest.raises(StoreError, match="another run"), only_writer(tmp_path / "map"):
                pytest.fail("two writers at once")
            with only_writer(tmp_path / "mask"):
                pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="no file locks of this kind")
def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), only_writer(tmp_path / "map"):
        raise RuntimeError
    with only_writer(tmp_path / "map"):
        pass


def test_a_file_that_another_run_moves_away_before_the_lock_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    lock, path = fcntl.flock, tmp_path / "a.part"

    def finish_first(descriptor: int, operation: int) -> None:
        if not (tmp_path / "a").exists():
            path.replace(tmp_path / "a")
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", finish_first)
    descriptor = open_locked(path)
    assert os.path.samestat(os.fstat(descriptor), path.stat())
    os.close(descriptor)


def test_a_file_system_without_locks_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    descriptor = open_locked(tmp_path / "a.part")
    os.write(descriptor, b"bytes")
    os.close(descriptor)
    assert (tmp_path / "a.part").read_bytes() == b"bytes"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no /proc here")
@pytest.mark.parametrize("path", ["/proc/emres.json", "/proc/emres/inner.json"])
def test_a_folder_that_takes_no_files_is_told_in_words(path: str) -> None:
    with pytest.raises(StoreError, match=r"takes no files; choose another folder"), replaced_file(Path(path)) as part:
        part.write_text("never")
