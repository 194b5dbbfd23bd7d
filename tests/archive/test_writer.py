"""Writing volumes: any slabs along any axis give the same bytes, and nothing is seen before it is whole."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emres.archive.store import EntryGroup, Store, open_volume
from emres.archive.writer import VolumeWriter, create_array
from emres.errors import MapError, StoreError, UsageError
from emres.volume.grid import Grid
from emres.volume.pyramid import block_mean
from tests.archive.volumes import GRID, files_in, noise, written


@pytest.fixture
def group(tmp_path: Path) -> EntryGroup:
    return Store(tmp_path).create("EMD-1234", {})


def chunks_of(group: EntryGroup, kind: str, level: int) -> list[str]:
    return [name for name in files_in(group.path / kind / f"scale{level}") if "/c/" in name and "density" in name]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("thickness", [64, 7, 65, 200])
def test_slabs_along_any_axis_give_the_same_bytes_as_the_whole(group: EntryGroup, axis: int, thickness: int) -> None:
    values = noise()
    written(group, "whole", values)
    with VolumeWriter(group, "streamed", GRID) as writer:
        for start in range(0, GRID.shape[axis], thickness):
            part = [slice(None)] * 3
            part[axis] = slice(start, start + thickness)
            writer.add(axis, values[tuple(part)])
        writer.commit({})
    for level in range(3):
        whole, streamed = (files_in(group.path / kind / f"scale{level}") for kind in ("whole", "streamed"))
        assert whole == streamed
    whole, streamed = (group.attributes(kind)["statistics"] for kind in ("whole", "streamed"))
    assert streamed == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 200, 5), (16, 16, 16), (129, 65, 64)])
def test_volumes_of_any_shape_come_back(group: EntryGroup, shape: tuple[int, int, int]) -> None:
    grid = Grid(shape, (1.0, 1.0, 1.0))
    written(group, "map", noise(grid), grid)
    np.testing.assert_array_equal(group.array()[:], noise(grid))


def test_statistics_of_a_map_are_kept_and_those_of_a_result_left_to_it(group: EntryGroup) -> None:
    values = noise()
    written(group, "map", values, source={"md5": "0"})
    written(group, "local_resolution/a@1", values, median=3.0)
    found = group.attributes("map")
    assert found["source"] == {"md5": "0"}
    assert found["statistics"] == pytest.approx(
        {"minimum": values.min(), "maximum": values.max(), "mean": values.mean(), "std": values.std()}, rel=1e-5
    )
    assert "statistics" not in group.attributes("local_resolution/a@1")


def stop_with_an_error(writer: VolumeWriter) -> None:
    writer.add(0, noise()[:64])
    raise RuntimeError("stopped")


def forget_to_commit(writer: VolumeWriter) -> None:
    writer.add(0, noise())


def commit_what_is_not_whole(writer: VolumeWriter) -> None:
    writer.add(0, noise()[:64])
    writer.commit({})


def commit_nothing(writer: VolumeWriter) -> None:
    writer.commit({})


def commit_what_is_no_json(writer: VolumeWriter) -> None:
    writer.add(0, noise())
    writer.commit({"odd": object()})


ACCIDENTS = [stop_with_an_error, forget_to_commit, commit_what_is_not_whole, commit_nothing, commit_what_is_no_json]


@pytest.mark.parametrize("accident", ACCIDENTS)
@pytest.mark.parametrize("kind", ["map", "local_resolution/a@1"])
@pytest.mark.parametrize("older", [False, True])
def test_without_a_commit_nothing_changes(
    group: EntryGroup, kind: str, older: bool, accident: Callable[[VolumeWriter], None]
) -> None:
    if older:
        written(group, kind, noise(seed=5))
    before = {name: data for name, data in files_in(group.path).items() if name != "local_resolution/zarr.json"}
    try:
        with VolumeWriter(group, kind, GRID) as writer:
            accident(writer)
    except (RuntimeError, MapError, TypeError):
        pass
    assert {name: data for name, data in files_in(group.path).items() if name != "local_resolution/zarr.json"} == before
    assert not group.work.exists()


def test_a_volume_with_slabs_missing_is_refused(group: EntryGroup) -> None:
    with pytest.raises(MapError, match="not whole: got 64 sections along z, expected 70"):  # noqa: SIM117
        with VolumeWriter(group, "map", GRID) as writer:
            commit_what_is_not_whole(writer)


def test_replacing_a_kind_leaves_nothing_of_the_old_one(group: EntryGroup) -> None:
    written(group, "map", noise())
    small = Grid((20, 20, 20), (2.0, 2.0, 2.0))
    lazy = open_volume(group.path)
    written(group, "map", noise(small), small)
    np.testing.assert_array_equal(open_volume(group.path).values, noise(small))
    assert group.levels() == 2
    assert not (group.path / "map/scale2").exists()
    assert not group.work.exists()
    assert lazy.shape == GRID.shape


def test_while_a_kind_is_replaced_the_old_one_is_read(group: EntryGroup) -> None:
    written(group, "map", noise())
    with VolumeWriter(group, "map", GRID) as writer:
        writer.add(0, noise(seed=1))
        np.testing.assert_array_equal(open_volume(group.path).values, noise())
        writer.commit({})
        np.testing.assert_array_equal(open_volume(group.path).values, noise(seed=1))


def test_a_replacement_that_cannot_come_leaves_the_old_one(group: EntryGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    written(group, "map", noise())
    replace = os.replace

    def refuse_the_new_one(source: Path, target: Path) -> None:
        if Path(source).name == "map" and Path(source).parent == group.work:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("emres.archive.disk.os.replace", refuse_the_new_one)
    with pytest.raises(StoreError, match="disk is full"):
        written(group, "map", noise(seed=1))
    np.testing.assert_array_equal(open_volume(group.path).values, noise())
    assert not group.work.exists()


def die_at_work(group: EntryGroup) -> None:
    VolumeWriter(group, "map", GRID).__enter__().add(0, noise()[:64])
    os._exit(9)


def test_what_a_killed_run_has_left_is_cleared_away(group: EntryGroup) -> None:
    process = multiprocessing.get_context("spawn").Process(target=die_at_work, args=(group,))
    process.start()
    process.join()
    assert any((group.work / "map/scale0/density/c").rglob("*"))
    assert not group.has("map")
    written(group, "map", noise())
    np.testing.assert_array_equal(group.array()[:], noise())
    assert not group.work.exists()


@pytest.mark.skipif(os.name == "nt", reason="no file locks of this kind")
def test_two_runs_never_write_the_same_kind_at_once(group: EntryGroup) -> None:
    with VolumeWriter(group, "map", GRID) as first:
        first.add(0, noise()[:64])
        with pytest.raises(StoreError, match="another run"):
            VolumeWriter(group, "map", GRID).__enter__()
        written(group, "mask", noise(seed=3))  # another kind is free
        first.add(0, noise()[64:])
        first.commit({})
    np.testing.assert_array_equal(group.array()[:], noise())
    assert not group.work.exists()


def test_an_entry_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        written(Store(tmp_path).entry("EMD-9"), "map", noise())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["../map", "local_resolution", "zarr.json", "a/b", "/map"])
def test_no_kind_is_written_outside_its_place(group: EntryGroup, kind: str) -> None:
    with pytest.raises(UsageError):
        VolumeWriter(group, kind, GRID)


def test_zeros_cost_nothing(group: EntryGroup) -> None:
    values = np.zeros((192, 64, 64), np.float32)
    values[70, 5, 5] = 1
    written(group, "map", values, Grid(values.shape, (1.0, 1.0, 1.0)))
    assert chunks_of(group, "map", 0) == ["density/c/1/0/0"]
    assert chunks_of(group, "map", 1) == ["density/c/0/0/0"]
    np.testing.assert_array_equal(group.array()[:], values)


def test_the_pyramid_of_a_resolution_map_leaves_zeros_out_of_the_mean(group: EntryGroup) -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(3, 8, (64, 64, 64)).astype(np.float32)
    values[rng.random(values.shape) < 0.8] = 0
    written(group, "local_resolution/a@1", values, Grid(values.shape, (1.0, 1.0, 1.0)))
    cubes = values.reshape(32, 2, 32, 2, 32, 2).transpose(0, 2, 4, 1, 3, 5).reshape(32, 32, 32, 8)
    inside = (cubes != 0).sum(-1)
    expected = np.where(inside, cubes.sum(-1) / np.maximum(inside, 1), 0)
    np.testing.assert_allclose(group.array("local_resolution/a@1", 1)[:], expected, rtol=1e-5)


def test_an_uncertainty_lies_beside_the_resolution_of_its_name(group: EntryGroup) -> None:
    values = noise()
    for kind in ("map", "local_resolution/net@1", "uncertainty/net@1"):
        written(group, kind, values)
    assert group.kinds() == ["map", "local_resolution/net@1", "uncertainty/net@1"]
    assert group.results() == ["local_resolution/net@1"]
    np.testing.assert_array_equal(open_volume(group.path, "uncertainty/net@1").values, values)
    assert (group.path / "uncertainty/net@1/scale0/uncertainty").is_dir()


def test_the_pyramid_of_a_map_counts_zeros(group: EntryGroup) -> None:
    values = np.where(noise() > 3, noise(), 0).astype(np.float32)
    written(group, "map", values)
    np.testing.assert_allclose(group.array("map", 1)[:], block_mean(values), rtol=1e-6, atol=1e-6)


def test_an_array_begins_as_zeros_in_place_of_any_older_one(tmp_path: Path) -> None:
    create_array(tmp_path / "a", (5, 6, 7))[:] = 1
    fresh = create_array(tmp_path / "a", (4, 4, 4), "bool", chunk=(1, 2, 4))
    assert (fresh.shape, fresh.chunks, fresh.dtype) == ((4, 4, 4), (1, 2, 4), np.bool_)
    assert not fresh[:].any()
