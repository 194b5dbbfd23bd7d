"""A fetch that a bad line broke off goes on with the missing bytes, in a new run."""

from __future__ import annotations

from pathlib import Path

import pytest

from emres.archive.emdb import Mirror, embedded_mirror
from emres.archive.store import Store
from emres.errors import EmresError
from emres.run.fetch import FetchPlan, fetch_into_store
from tests.archive import hostile

NAME = "structures/EMD-1439/map/emd_1439.map.gz"


def test_a_fetch_that_was_cut_goes_on_with_the_missing_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMRES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    book, root = hostile.Server(), Path(embedded_mirror().root)
    running = hostile.start(book)
    for path in root.rglob("*.*"):
        book.put(path.relative_to(root).as_posix(), path.read_bytes())
    book.put(NAME, book.files[NAME], hostile.cut(700_000), hostile.refuse(403))
    plan = FetchPlan(Store(tmp_path / "store"), Mirror(book.url()))
    with pytest.raises(EmresError):
        fetch_into_store("EMD-1439", plan)
    assert not (tmp_path / "store/EMD-1439.zarr").exists()
    book.put(NAME, book.files[NAME])
    assert fetch_into_store("EMD-1439", plan) == ["map"]
    last = [headers.get("Range") for path, headers in book.asked if path == NAME][-1]
    running.shutdown()
    assert last is not None
    assert int(last[6:-1]) > 500_000
    assert not list(tmp_path.rglob("*.part"))
