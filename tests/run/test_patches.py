"""Patches of a data set: lazy, as stored or as prepared, in bounded memory, the same from any worker."""

from __future__ import annotations

import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pytest
import torch
import zarr
from torch.utils.data import DataLoader

import emres
from emres.archive.attributes import grid_attributes, variable_of
from emres.archive.manifest import DataSet, Row
from emres.archive.scratch import MemoryScratch
from emres.archive.store import EntryGroup, Store, open_volume
from emres.archive.writer import create_array
from emres.errors import EmresError, MapError, StoreError, UsageError
from emres.model.augment import USUAL, Augmentation, filtered, rms_gain
from emres.model.loader import Batch, patch_batches
from emres.run import patch_facts
from emres.run.kept_facts import FILE, read_facts
from emres.run.masks import mask_slabs, whole_mask
from emres.run.patch_facts import gather_facts, take_facts
from emres.run.patches import patch_stream, patches
from emres.run.prepare import DENSITY, prepare
from emres.volume.density import robust_statistics
from emres.volume.grid import Grid
from emres.volume.pyramid import pyramid_grids
from emres.volume.resample import fourier_resample
from tests.archive.volumes import written
from tests.run.toy_dataset import GRID, TARGET, texture, toy_dataset


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Not to be changed."""
    return toy_dataset(tmp_path_factory.mktemp("set"))


@pytest.fixture
def fresh(tmp_path: Path) -> DataSet:
    return toy_dataset(tmp_path, entries=1)


def entry_of(dataset: DataSet, number: int = 0) -> EntryGroup:
    row = dataset.rows[number]
    return Store(dataset.store_of(row)).entry(row.entry)


def same(first: list[Batch], second: list[Batch]) -> bool:
    pairs = [zip(one, two, strict=True) for one, two in zip(first, second, strict=True)]
    return all(torch.equal(a, b) for pair in pairs for a, b in pair)


# --- lazily


def test_nothing_is_read_until_it_is_computed(kept: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a density was read")

    with monkeypatch.context() as patched, dask.config.set(scheduler=refuse):
        patched.setattr("emres.run.patch_sources.chunk_array", refuse)
        lazy = patches(kept.folder, side=16, count=60)
    tasks = {key for array in lazy.data_vars.values() for key in array.__dask_graph__()}
    assert len(tasks) <= 10 * 3  # of three entries
    assert lazy.density.dims == ("patch", "z", "y", "x")
    assert lazy.density.shape == (60, 16, 16, 16)
    found = lazy.compute()
    assert {array.dtype for array in found.data_vars.values()} == {np.dtype(np.float32)}
    assert (found.weight.sum(("z", "y", "x")) > 0).all()


def test_a_chunk_is_of_one_entry_and_is_cut_once(kept: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = patches(kept, side=16, count=90)
    ends = np.cumsum(lazy.density.data.chunks[0])
    assert all(len(set(part)) == 1 for part in np.split(lazy.entry.values, ends[:-1]))
    assert len(ends) == 3
    opened: list[str] = []
    check = patch_facts.check_row

    def counted(dataset: DataSet, row: Row) -> EntryGroup:
        opened.append(row.entry)
        return check(dataset, row)

    monkeypatch.setattr("emres.run.patch_sources.check_row", counted)
    lazy.compute(scheduler="synchronous")
    assert sorted(opened) == ["e0", "e1", "e2"]


def test_on_their_own_voxels_patches_are_what_is_stored(kept: DataSet) -> None:
    found = patches(kept, side=8, count=30, seed=2, normalise=False).compute()
    checked = 0
    for k in range(30):
        one = found.isel(patch=k)
        volumes = [open_volume(kept.folder / "store" / f"{one.entry.item()}.zarr", kind) for kind in ("map", TARGET)]
        if one.entry == "e0":  # some of these are of the average of the half maps
            continue
        where = {dim: int(abs(volumes[0][dim] - one[f"centre_{dim}"]).argmin()) for dim in ("z", "y", "x")}
        inside = all(4 <= index <= volumes[0].sizes[dim] - 4 for dim, index in where.items())
        if inside:
            box = {dim: slice(index - 4, index + 4) for dim, index in where.items()}
            np.testing.assert_array_equal(one.density, volumes[0].isel(box))
            np.testing.assert_array_equal(one.target, volumes[1].isel(box))
            checked += 1
    assert checked > 10


def test_the_average_is_of_the_half_maps(kept: DataSet) -> None:
    rows = (replace(kept.rows[0], densities=("average",)),)
    found = patches(replace(kept, rows=rows), side=8, count=5, normalise=False).compute()
    volumes = [open_volume(entry_of(kept).path, kind).values for kind in ("half_map_1", "half_map_2")]
    average = (volumes[0] + volumes[1]) * np.float32(0.5)
    for k in range(5):
        z, y, x = (round((float(found[f"centre_{d}"][k]) - o) / 1.06) for d, o in zip("zyx", GRID.origin, strict=True))
        if min(z, y, x) >= 4:
            cube = average[z - 4 : z + 4, y - 4 : y + 4, x - 4 : x + 4]
            np.testing.assert_array_equal(found.density[k].values[: cube.shape[0]], cube)


def test_the_same_arguments_are_the_same_patches(kept: DataSet) -> None:
    one, again, other = (
        patches(kept, side=12, count=20, voxel_size=1.5, augmentation=USUAL, epoch=epoch).compute()
        for epoch in (0, 0, 1)
    )
    assert one.identical(again)
    assert not np.array_equal(one.centre_z, other.centre_z)


def test_coordinates_tell_where_a_patch_is_from(kept: DataSet) -> None:
    found = patches(kept, "validation", side=8, count=4, voxel_size=2.5)
    assert set(found.entry.values) == set(found.family.values) == {"v"}
    assert set(found.voxel_size.values) == {2.5}
    assert found.attrs["split"] == "validation"
    assert emres.patches is patches


# --- as prepared


def test_normalisation_is_what_inference_gives(tmp_path: Path) -> None:
    dataset = toy_dataset(
        tmp_path, 1, grid=Grid((110, 112, 98), (1.06,) * 3)
    )  # above 2^20 voxels: the median is sampled
    row = replace(dataset.rows[0], densities=("map",))
    dataset, group = replace(dataset, rows=(row,)), entry_of(dataset)
    source, grid = group.pyramid(), group.grid()
    scratch = MemoryScratch()
    working = grid.resampled(1.5)
    prepare(source, mask_slabs(source, "auto"), working, scratch, reach=8)
    facts, _ = take_facts(dataset, row, "map", 1.5)
    noted = scratch.notes()
    assert (facts.normalisation.centre, facts.normalisation.scale) == (noted["centre"], noted["scale"])
    # and so are the voxels, but for the shorter memory of a windowed sinc
    found = patches(dataset, side=16, count=12, voxel_size=1.5, seed=1).compute()
    assert scratch.open(DENSITY).shape == working.shape
    for k in range(12):
        first = [float(found[f"centre_{dim}"][k]) - 8 * 1.5 for dim in "zyx"]
        exact = fourier_resample(source.array()[...], grid, Grid((16, 16, 16), (1.5,) * 3, tuple(first)))
        error = found.density[k].values - facts.normalisation(exact)
        assert error.std() < 0.03 * exact.std() / facts.normalisation.scale


def test_a_sharpened_patch_is_scaled_as_the_sharpened_map_would_be(fresh: DataSet) -> None:
    values, mask = np.asarray(entry_of(fresh).array()[...]), whole_mask(entry_of(fresh).pyramid(), "auto", None)
    before = robust_statistics(values, mask).scale
    facts, _ = take_facts(fresh, fresh.rows[0], "map")
    for b_factor in (-60.0, 60.0):
        after = robust_statistics(filtered(values, b_factor, 1.06, 3.2), mask).scale
        assert rms_gain(facts.spectra, b_factor, 3.2) == pytest.approx(after / before, rel=0.1)


def test_numbers_of_whole_maps_are_kept_and_taken_again_when_a_map_changes(
    fresh: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    facts = gather_facts(fresh, fresh.rows[:1], report=told.append)
    assert told == ["e0"]  # map and average
    assert read_facts(fresh) == facts
    assert gather_facts(fresh, fresh.rows[:1], report=told.append) == facts
    assert len(told) == 1
    shutil.rmtree(entry_of(fresh).path / "map")
    written(entry_of(fresh), "map", texture(GRID, 99), GRID)
    changed = gather_facts(fresh, fresh.rows[:1], report=told.append)
    assert len(told) == 2
    assert len(changed) == 3


@pytest.mark.parametrize("damage", ["", "[]", '{"maps": {"a": 3}}', '{"maps": {"a": {"normalisation": {"x": 1}}}}'])
def test_damaged_numbers_are_taken_again(fresh: DataSet, damage: str) -> None:
    (fresh.folder / FILE).write_text(damage)
    assert read_facts(fresh) == {}
    assert len(list(patch_stream(fresh, side=8, count=8, batch=8))) == 1
    assert len(read_facts(fresh)) == 2


def test_a_data_set_that_cannot_be_written_is_used_all_the_same(fresh: DataSet) -> None:
    (fresh.folder / FILE).mkdir()  # root, too, cannot write a file there
    assert len(list(patch_stream(fresh, side=8, count=8, batch=8))) == 1
    assert not list(fresh.folder.glob("*.part*"))


# --- streams


@pytest.fixture(scope="module")
def batches(kept: DataSet) -> list[Batch]:
    return list(patch_stream(kept, side=12, count=40, batch=8))


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 2)])
def test_processes_give_the_same_batches_after_zarr_was_used_here(
    kept: DataSet, batches: list[Batch], method: str, workers: int
) -> None:
    stream = patch_stream(kept, side=12, count=40, batch=8)
    next(iter(stream))  # zarr's loop runs in this process
    loader = DataLoader(stream, batch_size=None, num_workers=workers, multiprocessing_context=method)
    assert same(list(loader), batches)


@pytest.mark.timeout(60)
def test_threads_give_the_same_batches(kept: DataSet, batches: list[Batch]) -> None:
    assert same(list(patch_batches(patch_stream(kept, side=12, count=40, batch=8), 2)), batches)


def test_an_error_in_a_process_names_the_entry(fresh: DataSet) -> None:
    stream = patch_stream(fresh, side=8, count=8, batch=8)
    shutil.rmtree(entry_of(fresh).path)
    with pytest.raises(EmresError, match="e0 has vanished"):
        list(DataLoader(stream, batch_size=None, num_workers=1, multiprocessing_context="fork"))


# --- whatever the size


def sparse_entry(group: EntryGroup, side: int) -> int:
    """Write an entry of side^3 voxels of which only a few chunks are stored; return how many have a target."""
    grids = pyramid_grids(Grid((side,) * 3, (1.06,) * 3))
    held = slice(side // 2, side // 2 + 64)
    for kind in ("map", TARGET):
        folder = group.path / kind
        if kind == TARGET:
            zarr.open_group(folder.parent, mode="a", zarr_format=3)
        made = zarr.create_group(folder, zarr_format=3)
        levels = [grid_attributes(grid) for grid in grids]
        made.update_attributes({"emres": {"kind": kind, "levels": levels, "statistics": {}, "window": 30.0}})
        for level, grid in enumerate(grids):
            zarr.create_group(folder / f"scale{level}", zarr_format=3)
            array = create_array(folder / f"scale{level}" / variable_of(kind), grid.shape)
            part = slice(held.start >> level, held.stop >> level)
            array[part, part, part] = 3.0 if kind == TARGET else 1.0
    return 64**3


def peak_of_an_epoch(folder: Path, side: int) -> int:
    group = Store(folder / "store").create("big", {})
    voxels = sparse_entry(group, side)
    row = Row("big", "store", TARGET, "train", "big", 1.0, ("map",), 3.0, 2.5, 3.5, 1.06, voxels)
    dataset = DataSet(folder, (row,))
    tracemalloc.start()
    try:
        lazy = patches(dataset, side=16, count=32, voxel_size=1.5, normalise=False)
        lazy.compute(scheduler="synchronous")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_map(tmp_path: Path) -> None:
    small, large = peak_of_an_epoch(tmp_path / "small", 192), peak_of_an_epoch(tmp_path / "large", 1024)
    assert large < 60e6  # of 4.3 GB; a slab of the coarsest level of the target is 17 MB of it
    assert small < large


# --- cubes


def test_cubes_of_a_lattice_come_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grid = Grid((32, 48, 16), (1.0,) * 3)
    density = rng.normal(1, 1, grid.shape).astype(np.float32)
    target = np.full(grid.shape, 4.0, dtype=np.float32)
    target[:16, :16] = 0
    group = Store(tmp_path / "store").create("cubes", {})
    written(group, "map", density, grid)
    written(group, TARGET, target, grid)
    row = Row("cubes", "store", TARGET, "train", "c", 1.0, ("map",), 4.0, 4.0, 4.0, 1.0, 5 * 16**3, lattice=16)
    dataset = DataSet(tmp_path, (row,))
    found = patches(dataset, side=16, count=5, voxel_size=1.5, normalise=False).compute()
    stored = {
        density[16 * z : 16 * z + 16, 16 * y : 16 * y + 16].tobytes()
        for z in range(2)
        for y in range(3)
        if (z, y) != (0, 0)
    }
    assert {cube.tobytes() for cube in found.density.values} == stored
    assert set(found.voxel_size.values) == {1.0}
    turned = patches(dataset, side=24, count=120, augmentation=Augmentation(rotations=True)).compute()
    assert len({cube.tobytes() for cube in turned.density.values}) == 120
    with pytest.raises(UsageError, match="cubes of cubes are larger"):
        patches(dataset, side=8, count=2).compute()


# --- bad input


def test_an_empty_side_of_the_split_is_told(kept: DataSet) -> None:
    with pytest.raises(UsageError, match=r"the test side of .* is empty: got 4 entries in all"):
        patches(kept, "test")
    with pytest.raises(UsageError, match="unknown side of a split"):
        patches(kept, "training")


def test_an_entry_that_vanished_is_named(fresh: DataSet) -> None:
    shutil.rmtree(entry_of(fresh).path)
    for call in (patches, patch_stream):
        with pytest.raises(StoreError, match="e0 has vanished from"):
            call(fresh, count=4)


@pytest.mark.parametrize("kind", ["half_map_2", "map", TARGET])
def test_a_map_that_is_missing_is_named_with_its_entry(fresh: DataSet, kind: str) -> None:
    shutil.rmtree(entry_of(fresh).path / kind)
    with pytest.raises(StoreError, match=f"e0 has no {kind}: got "):
        patches(fresh, count=4)


def test_a_target_on_another_grid_is_told(fresh: DataSet) -> None:
    shutil.rmtree(entry_of(fresh).path / TARGET)
    other = Grid((40, 40, 40), (1.5,) * 3)
    written(entry_of(fresh), TARGET, np.full(other.shape, 3.0, dtype=np.float32), other)
    with pytest.raises(MapError, match=f"the {TARGET} of e0 lies on another grid than its map: got .*40"):
        patch_stream(fresh, count=4)


def test_a_map_without_a_molecule_names_the_entry(fresh: DataSet) -> None:
    shutil.rmtree(entry_of(fresh).path / "map")
    written(entry_of(fresh), "map", np.zeros(GRID.shape, dtype=np.float32), GRID)
    with pytest.raises(MapError, match="e0 cannot be normalised: no molecule was found"):
        patch_stream(fresh, count=4)


def test_no_data_set_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="emres dataset build"):
        patches(tmp_path)
