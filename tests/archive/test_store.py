"""The store: what is in it, what opens it, and what it will not touch."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from ome_zarr_models.v05 import Image

import emres
from emres.archive.attributes import check_kind, check_name
from emres.archive.store import EntryGroup, Store, open_entry, open_volume
from emres.errors import StoreError, UsageError
from emres.volume.grid import Grid, grid_of
from emres.volume.pyramid import block_mean
from tests.archive.volumes import GRID, filled_store, noise, written

KINDS = ["map", "half_map_1", "mask", "local_resolution/a@1-beta", "local_resolution/b@1"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return filled_store(tmp_path_factory.mktemp("stores") / "maps")


@pytest.fixture(scope="module")
def group(store: Store) -> EntryGroup:
    return store.entry("EMD-1234")


def rewritten(path: Path, **emres_attributes: object) -> None:
    """Change what a group says about itself."""
    found = json.loads((path / "zarr.json").read_text())
    found["attributes"]["emres"].update(emres_attributes)
    (path / "zarr.json").write_text(json.dumps(found))


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "a\\b", "a b", "x.zarr", "a\n", "-rf", "å", "C:", "x" * 101],
)
def test_names_never_leave_the_store(store: Store, name: str) -> None:
    for refused in (store.entry, check_name, lambda name: store.create(name, {})):
        with pytest.raises(UsageError, match="cannot be used"):
            refused(name)


@pytest.mark.parametrize("name", ["EMD-13939", "my_map.v2", "a@1.0+half_map_1", "7", "x" * 100])
def test_ordinary_names_are_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "..",
        "../map",
        "/map",
        "map/",
        "a/b",
        "local_resolution",
        "local_resolution/",
        "local_resolution/../map",
        "local_resolution/a/b",
        "zarr.json",
        "local_resolution/.a",
        "../EMD-2.zarr/map",
    ],
)
def test_kinds_never_leave_their_entry(group: EntryGroup, kind: str) -> None:
    for refused in (check_kind, group.has, group.grid, group.array, lambda kind: open_volume(group.path, kind)):
        with pytest.raises(UsageError):
            refused(kind)


def test_kinds_are_listed_maps_first_then_results(group: EntryGroup) -> None:
    assert group.kinds() == KINDS
    assert group.results() == KINDS[3:]
    assert all(group.has(kind) for kind in KINDS)
    assert not group.has("half_map_2")


def test_an_entry_that_is_not_there_has_nothing(store: Store) -> None:
    absent = store.entry("EMD-9")
    assert not absent.exists()
    assert (absent.kinds(), absent.results()) == ([], [])
    with pytest.raises(StoreError, match="emres fetch EMD-9"):
        absent.grid()
    with pytest.raises(StoreError, match="no entry group"):
        open_entry(absent.path)


def test_a_store_lists_its_entries_and_nothing_else(tmp_path: Path) -> None:
    assert list(Store(tmp_path / "absent")) == []
    store = Store(tmp_path)
    for name in ("EMD-2", "EMD-1"):
        store.create(name, {})
    (tmp_path / "not-a-group.zarr").mkdir()
    (tmp_path / ".work").mkdir()
    assert [group.name for group in store] == ["EMD-1", "EMD-2"]


def test_creating_again_renews_the_metadata_and_keeps_the_maps(tmp_path: Path) -> None:
    store = filled_store(tmp_path)
    group = store.create("EMD-1234", {"title": "Renewed"})
    assert group.attributes()["entry"] == {"title": "Renewed"}
    assert group.kinds() == KINDS


def test_killed_at_any_step_of_making_an_entry_leaves_a_whole_one_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that changes what others see in the folder is the last one in its turn."""
    store, seen = Store(tmp_path / "store"), []

    def watched(source: Path, target: Path) -> None:
        seen.append(store.entry("EMD-1").exists())
        os_replace(source, target)
        seen.append(store.entry("EMD-1").attributes()["entry"] == {"title": "New"})

    os_replace = os.replace
    monkeypatch.setattr(os, "replace", watched)
    store.create("EMD-1", {"title": "New"})
    assert seen == [False, True]


def test_an_entry_that_an_earlier_emres_had_only_begun_is_made_anew(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "EMD-1.zarr", mode="a", zarr_format=3)
    group = Store(tmp_path).create("EMD-1", {"title": "New"})
    assert group.attributes()["entry"] == {"title": "New"}


def test_a_foreign_group_in_the_place_of_an_entry_is_left_alone(tmp_path: Path) -> None:
    theirs = zarr.open_group(tmp_path / "EMD-1.zarr", mode="a", zarr_format=3)
    theirs.create_array("density", shape=(2,), dtype="float32")
    with pytest.raises(StoreError, match="not an emres group"):
        Store(tmp_path).create("EMD-1", {})
    assert dict(zarr.open_group(tmp_path / "EMD-1.zarr", mode="r").attrs) == {}


def test_an_entry_from_a_newer_emres_is_refused_and_left_alone(tmp_path: Path) -> None:
    group = filled_store(tmp_path).entry("EMD-1234")
    rewritten(group.path, format_version=2)
    sentence = r"EMD-1234\.zarr was written by a newer emres: got format 2, expected format 1 or older; update emres"
    before = (group.path / "zarr.json").read_bytes()
    for refused in (
        lambda: open_entry(group.path),
        lambda: open_volume(group.path),
        lambda: Store(tmp_path).create("EMD-1234", {}),
        lambda: written(group, "map", noise()),
    ):
        with pytest.raises(StoreError, match=sentence):
            refused()
    assert (group.path / "zarr.json").read_bytes() == before


@pytest.mark.parametrize("version", [2, 99, "2", None, 1.5])
def test_a_format_that_is_not_known_is_taken_for_newer(tmp_path: Path, version: object) -> None:
    group = Store(tmp_path).create("a", {})
    rewritten(group.path, format_version=version)
    with pytest.raises(StoreError, match="newer emres"):
        open_entry(group.path)


def test_a_store_may_be_named_by_a_string(tmp_path: Path) -> None:
    assert Store(str(tmp_path)) == Store(tmp_path)  # type: ignore[arg-type]
    assert list(Store(str(tmp_path))) == []  # type: ignore[arg-type]


def test_a_foreign_zarr_group_is_refused(tmp_path: Path) -> None:
    xr.Dataset({"density": ("x", [1.0])}).to_zarr(tmp_path / "other.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(StoreError, match="not an emres group"):
        open_entry(tmp_path / "other.zarr")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"zarr_format": 2}', '{"zarr_format": 3, "node_type": "array"}'])
def test_a_damaged_group_is_refused(tmp_path: Path, text: str) -> None:
    group = Store(tmp_path).create("a", {})
    (group.path / "zarr.json").write_text(text)
    with pytest.raises(StoreError, match=r"a\.zarr"):
        open_entry(group.path)


def test_a_group_that_may_not_be_read_is_told_so(group: EntryGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(StoreError, match="Permission denied"):
        open_entry(group.path)


def test_a_kind_whose_array_is_gone_is_refused(tmp_path: Path) -> None:
    group = filled_store(tmp_path).entry("EMD-1234")
    (group.path / "map/scale0/density/zarr.json").unlink()
    with pytest.raises(StoreError, match="scale0"):
        open_volume(group.path)


@pytest.mark.parametrize("level", [-1, 3])
def test_a_level_that_is_not_there_is_refused(group: EntryGroup, level: int) -> None:
    with pytest.raises(UsageError, match=f"no such level: got {level}, expected 0 to 2"):
        open_volume(group.path, "map", level)


def test_a_kind_that_is_not_there_is_refused_with_those_that_are(group: EntryGroup) -> None:
    with pytest.raises(StoreError, match="no half_map_2: got map, half_map_1, mask"):
        open_volume(group.path, "half_map_2")


@pytest.mark.parametrize("kind", KINDS)
def test_a_volume_opens_lazily_and_equal(group: EntryGroup, kind: str) -> None:
    expected = {"map": noise(), "half_map_1": noise(seed=1), "mask": noise() > 3}.get(kind, np.abs(noise()))
    volume = emres.open_volume(str(group.path), kind)
    assert volume.chunks is not None
    assert volume.chunksizes["z"][0] == 64
    assert volume.dtype == np.float32
    np.testing.assert_array_equal(volume.values, expected)
    assert grid_of(volume).matches(GRID, 1e-9)


def test_a_volume_knows_what_it_is(group: EntryGroup) -> None:
    volume = open_volume(group.path)
    assert {key: volume.attrs[key] for key in ("emdb_id", "kind", "units", "mrc_header", "contour_level")} == {
        "emdb_id": "EMD-1234",
        "kind": "map",
        "units": "density",
        "mrc_header": {"mode": 2},
        "contour_level": 0.0,
    }
    assert open_volume(group.path, "local_resolution/b@1").attrs["model"] == "b@1"


@pytest.mark.parametrize("kind", KINDS)
def test_xarray_opens_a_kind_as_a_tree(group: EntryGroup, kind: str) -> None:
    variable = "local_resolution" if "/" in kind else "density"
    with xr.open_datatree(group.path / kind, engine="zarr", consolidated=False) as tree:
        for level in range(3):
            found = tree[f"scale{level}/{variable}"]
            assert found.dims == ("z", "y", "x")
            ours = open_volume(group.path, kind, level)
            np.testing.assert_array_equal(found.values, ours.values)
            for dim in "zyx":
                np.testing.assert_allclose(found.coords[dim], ours.coords[dim])
                assert found.coords[dim].attrs["units"] == "angstrom"


@pytest.mark.parametrize("kind", KINDS)
def test_ome_zarr_says_the_right_scale_at_every_level(group: EntryGroup, kind: str) -> None:
    import zarr

    image = Image.from_zarr(zarr.open_group(group.path / kind, mode="r"))
    (multiscale,) = image.attributes.ome.multiscales
    assert [(axis.name, axis.type, axis.unit) for axis in multiscale.axes] == [
        (dim, "space", "angstrom") for dim in "zyx"
    ]
    assert len(multiscale.datasets) == group.levels(kind) == 3
    for level, dataset in enumerate(multiscale.datasets):
        scale, translation = dataset.coordinateTransformations
        grid = Grid(group.array(kind, level).shape, tuple(scale.scale), tuple(translation.translation))
        assert grid.matches(group.grid(kind, level), 1e-9)
        assert grid.voxel_size == pytest.approx([2**level * size for size in GRID.voxel_size])
        # The first voxel of a level lies in the middle of the 2^level voxels that it is the mean of.
        middle = (2**level - 1) / 2
        assert grid.origin == pytest.approx(GRID.to_angstrom((middle, middle, middle)))


def test_levels_are_block_means(group: EntryGroup) -> None:
    pyramid = group.pyramid("map")
    for finer, coarser in itertools.pairwise(range(pyramid.levels)):
        np.testing.assert_allclose(pyramid.array(coarser)[:], block_mean(pyramid.array(finer)[:]), rtol=1e-6)


def test_discarding_an_entry_leaves_its_neighbours(tmp_path: Path) -> None:
    store = filled_store(tmp_path)
    store.create("EMD-1", {})
    group = store.entry("EMD-1234")
    (group.work / "local_resolution+a@1").mkdir(parents=True)
    group.discard()
    assert [path.name for path in tmp_path.rglob("*1234*")] == []
    assert [entry.name for entry in store] == ["EMD-1"]


def test_tidying_removes_empty_work_folders_only(tmp_path: Path) -> None:
    group = Store(tmp_path).create("a", {})
    (group.work / "empty").mkdir(parents=True)
    (group.work / "download").mkdir()
    (group.work / "download/a.map.gz.part").write_bytes(b"half")
    group.tidy()
    assert [path.name for path in group.work.iterdir()] == ["download"]
    (group.work / "download/a.map.gz.part").unlink()
    group.tidy()
    assert not group.work.exists()
