"""A chunk read from its file is the chunk that Zarr reads; whatever is unusual goes through Zarr."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from emres.archive.chunk_reader import ChunkReader
from emres.archive.store import EntryGroup, Store
from emres.errors import StoreError
from emres.volume.grid import Grid
from tests.archive.volumes import written

GRID = Grid((70, 64, 130), (1.0,) * 3)
CHUNKS = [(slice(z, min(z + 64, 70)), slice(0, 64), slice(x, min(x + 64, 130))) for z in (0, 64) for x in (0, 64, 128)]


@pytest.fixture
def group(tmp_path: Path) -> EntryGroup:
    values = np.random.default_rng(0).normal(size=GRID.shape).astype(np.float32)
    values[:64, :, :64] = 0
    group = Store(tmp_path / "store").create("a", {})
    written(group, "map", values, GRID)
    return group


class Asked:
    """An array that remembers what was read through it."""

    def __init__(self, array: zarr.Array) -> None:
        self._array, self.parts = array, []

    def __getattr__(self, name: str) -> object:
        return getattr(self._array, name)

    def __getitem__(self, where: object) -> object:
        self.parts.append(where)
        return self._array[where]


def test_every_chunk_is_what_zarr_reads_without_asking_it(group: EntryGroup) -> None:
    array = Asked(group.array())
    reader = ChunkReader(array)
    assert (reader.shape, reader.chunks) == (GRID.shape, (64, 64, 64))
    for where in CHUNKS:
        np.testing.assert_array_equal(reader[where], group.array()[where])
        assert reader[where].dtype == np.float32
    assert array.parts == []


BOXES = [(slice(1, 64),) * 3, (slice(60, 70), slice(3, 9), slice(60, 129)), slice(2, 68), (slice(-5, None),), ...]


@pytest.mark.parametrize("where", BOXES)
def test_boxes_are_put_together_without_zarr(group: EntryGroup, where: object) -> None:
    array = Asked(group.array())
    np.testing.assert_array_equal(ChunkReader(array)[where], group.array()[where])
    np.testing.assert_array_equal(group.voxels()[where], group.array()[where])
    assert array.parts == []


def test_all_of_it_is_an_array(group: EntryGroup) -> None:
    np.testing.assert_array_equal(np.asarray(group.voxels()), group.array()[:])


def test_zarr_is_not_asked_to_open_what_emres_wrote(group: EntryGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zarr.open_array", lambda *_, **__: pytest.fail("opened"))
    reader = group.voxels()
    assert reader[:3].shape == (3, 64, 130) == (3, *reader.shape[1:])


def test_an_array_that_another_program_wrote_is_read_through_zarr(group: EntryGroup) -> None:
    values = group.array()[:]
    folder = group.path / "map" / "scale0" / "density"
    zarr.create_array(folder, shape=values.shape, chunks=(32, 32, 32), dtype="float32", overwrite=True)[:] = values
    reader = group.voxels()
    assert reader.chunks == (32, 32, 32)
    np.testing.assert_array_equal(reader[5:60, 3:], values[5:60, 3:])


def test_an_array_that_is_not_there_is_told(group: EntryGroup) -> None:
    (group.path / "map" / "scale0" / "density" / "zarr.json").unlink()
    with pytest.raises(StoreError, match="not readable"):
        group.voxels()


@pytest.mark.parametrize("where", [(slice(0, 128, 2), slice(0, 64), slice(0, 64)), 5, slice(7, 7)])
def test_what_is_no_box_goes_through_zarr(group: EntryGroup, where: object) -> None:
    array = Asked(group.array())
    np.testing.assert_array_equal(ChunkReader(array)[where], group.array()[where])
    assert array.parts == [where]


@pytest.mark.parametrize("how", [{"dtype": "float64"}, {"compressors": None}, {"fill_value": 1.0}, {"dtype": ">f4"}])
def test_an_array_written_otherwise_goes_through_zarr(tmp_path: Path, how: dict[str, object]) -> None:
    array = zarr.create_array(tmp_path / "a", shape=(4, 4, 4), chunks=(2, 2, 2), **{"dtype": "float32", **how})
    array[:2] = 3
    asked = Asked(array)
    corner = (slice(0, 2), slice(2, 4), slice(0, 2))
    np.testing.assert_array_equal(ChunkReader(asked)[corner], array[corner])
    assert asked.parts == [corner]


def test_a_chunk_that_is_damaged_is_told_by_zarr(group: EntryGroup) -> None:
    file = next(path for path in group.path.rglob("c/0/0/1") if "scale0" in str(path))
    file.write_bytes(b"no blosc at all, and long enough to have a header")
    for where in (CHUNKS[1], ...):
        with pytest.raises(RuntimeError):
            ChunkReader(group.array())[where]
