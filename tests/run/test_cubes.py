"""The predecessor's cubes come in, go out and come back as they were; maps go out as cubes that it could train on."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from emres.archive.cube_file import NO_SIGNAL, write_cubes
from emres.archive.manifest import DataSet, Row, read_dataset, write_dataset
from emres.archive.store import Store
from emres.archive.writer import VolumeWriter
from emres.errors import MapError, StoreError, UsageError
from emres.run import cubes as module
from emres.run.cubes import carried, export_hdf5, import_hdf5
from emres.volume import lattice
from emres.volume.grid import Grid


def cube_file(path: Path, count: int = 20, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    target = rng.uniform(2, 9, (count, 16, 16, 16)).astype(np.float32)
    target[rng.uniform(size=target.shape) < 0.5] = 0
    with write_cubes(path) as writer:
        writer.add(rng.uniform(size=target.shape).astype(np.float32), target)
    return path


def content(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: file[name][...] for name in ("map", "target")}


def test_cubes_go_out_as_they_came_in(tmp_path: Path) -> None:
    source = cube_file(tmp_path / "in.h5", count=70)
    dataset = import_hdf5(source, tmp_path / "set", name="old", split="train", voxel_size=1.2)
    assert [(row.entry, row.lattice, row.split, row.voxel_size) for row in dataset.rows] == [("old", 16, "train", 1.2)]
    assert export_hdf5(tmp_path / "set", tmp_path / "out.h5")["cubes"] == 70
    before, after = content(source), content(tmp_path / "out.h5")
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_a_row_tells_of_the_targets(tmp_path: Path) -> None:
    source = cube_file(tmp_path / "in.h5")
    (row,) = import_hdf5(source, tmp_path / "set", name="old", split="test").rows
    target = content(source)["target"]
    resolved = target[target < NO_SIGNAL]
    assert row.voxels == resolved.size
    assert row.resolution == pytest.approx(np.median(resolved), abs=0.02)
    assert (row.target, row.densities) == ("local_resolution/old", ("map",))


def test_the_same_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = cube_file(tmp_path / "in.h5")
    first = import_hdf5(source, tmp_path / "set", name="old", split="train")
    monkeypatch.setattr(module, "_write_lattice", None)
    assert import_hdf5(source, tmp_path / "set", name="old", split="train") == first


def test_an_imported_side_never_changes(tmp_path: Path) -> None:
    source = cube_file(tmp_path / "in.h5")
    import_hdf5(source, tmp_path / "set", name="old", split="train")
    with pytest.raises(UsageError, match="on the train side"):
        import_hdf5(source, tmp_path / "set", name="old", split="test")


def test_a_file_that_cannot_be_used_leaves_no_data_set(tmp_path: Path) -> None:
    source = cube_file(tmp_path / "in.h5")
    with h5py.File(source, "r+") as file:
        file["target"][-1, 0, 0, 0] = np.nan
    with pytest.raises(MapError, match="cube 19"):
        import_hdf5(source, tmp_path / "set", name="old", split="train")
    assert not [path for path in (tmp_path / "set").rglob("*") if path.is_file()]


def test_a_file_that_declares_more_than_the_disk_holds_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        for name in ("map", "target"):
            file.create_dataset(name, (10**11, 16, 16, 16), "f4", chunks=(1, 16, 16, 16))
    with pytest.raises(StoreError, match=r"100,000,000,000 cubes do not fit"):
        import_hdf5(tmp_path / "huge.h5", tmp_path / "set", name="old", split="train")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("voxel_size", [0.0, -1.0, float("nan")])
def test_a_voxel_size_that_is_none_is_refused(tmp_path: Path, voxel_size: float) -> None:
    with pytest.raises(MapError, match="voxel size"):
        import_hdf5(cube_file(tmp_path / "in.h5"), tmp_path / "set", name="o", split="train", voxel_size=voxel_size)
    assert not (tmp_path / "set/store").exists()


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lattice, "MOST_PER_SIDE", 4)  # a layer of 16 cubes, so that small files have many

    def peak(count: int) -> int:
        source = cube_file(tmp_path / f"{count}.h5", count)
        tracemalloc.start()
        import_hdf5(source, tmp_path / f"set{count}", name="old", split="train")
        export_hdf5(tmp_path / f"set{count}", tmp_path / f"out{count}.h5")
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(72 * 16) < 1.3 * peak(24 * 16)


def data_set(
    folder: Path, grid: Grid, density: np.ndarray, target: np.ndarray, target_grid: Grid | None = None
) -> DataSet:
    group = Store(folder / "store").create("mine", {})
    for kind, values, where in (("map", density, grid), ("local_resolution/fsc", target, target_grid or grid)):
        with VolumeWriter(group, kind, where) as writer:
            writer.add(0, values.astype(np.float32))
            writer.commit({})
    row = Row("mine", "store", "local_resolution/fsc", "train", "f", 1.0, ("map",), 3, 2, 4, grid.voxel_size[0], 9)
    dataset = DataSet(folder, (row,))
    write_dataset(dataset)
    return dataset


def ball(grid: Grid, radius: float) -> np.ndarray:
    axes = np.meshgrid(*(values - values.mean() for values in grid.coordinates().values()), indexing="ij")
    return np.asarray(np.sqrt(sum(axis**2 for axis in axes)) < radius)


def test_a_map_goes_out_scaled_and_only_where_it_has_a_target(tmp_path: Path) -> None:
    grid = Grid((48, 50, 52), (1.5,) * 3)
    density = np.random.default_rng(0).normal(size=grid.shape)
    inside = ball(grid, 10.0)
    data_set(tmp_path, grid, density, np.where(inside, 3.5, 0))
    export_hdf5(tmp_path, tmp_path / "out.h5", splits=["train"])
    found = content(tmp_path / "out.h5")
    assert 0 < len(found["map"]) < 27
    assert (found["target"] < NO_SIGNAL).any(axis=(1, 2, 3)).all()
    assert (found["target"] < NO_SIGNAL).sum() == inside.sum()
    # The middle cube begins at (16, 1 + 16, 2 + 16): what is no whole cube is left at both ends.
    scaled = (density - density.min()) / np.ptp(density)
    middle = int(np.argmax((found["target"] < NO_SIGNAL).sum(axis=(1, 2, 3))))
    np.testing.assert_allclose(found["map"][middle], scaled[16:32, 17:33, 18:34], atol=1e-6)


def test_all_maps_go_out_at_one_voxel_size(tmp_path: Path) -> None:
    grid = Grid((40, 40, 40), (1.5,) * 3)
    inside = ball(grid, 14.0)
    data_set(tmp_path, grid, inside.astype(float), np.where(inside, 3.5, 0))
    export_hdf5(tmp_path, tmp_path / "out.h5", voxel_size=1.0)
    found = content(tmp_path / "out.h5")
    resolved = found["target"][found["target"] < NO_SIGNAL]
    np.testing.assert_allclose(resolved, 3.5, rtol=1e-4)
    assert resolved.size == pytest.approx(inside.sum() * 1.5**3, rel=0.05)


def test_a_target_on_another_grid_is_carried_to_the_map(tmp_path: Path) -> None:
    grid, finer = Grid((32, 32, 32), (2.0,) * 3), Grid((32, 32, 32), (1.0,) * 3, (16.0,) * 3)
    z = grid.coordinates()["z"][:, None, None] + np.zeros(grid.shape)
    found = carried((10 + z).astype(np.float32), grid, finer)
    np.testing.assert_allclose(found, 10 + finer.coordinates()["z"][:, None, None] + np.zeros(finer.shape), rtol=1e-5)
    beyond = carried((10 + z).astype(np.float32), grid, Grid((48, 32, 32), (2.0,) * 3))
    assert (beyond[:32] > 0).all()
    assert (beyond[32:] == 0).all()


def test_cubes_cannot_be_resampled(tmp_path: Path) -> None:
    import_hdf5(cube_file(tmp_path / "in.h5"), tmp_path / "set", name="old", split="train")
    with pytest.raises(UsageError, match="cannot be resampled"):
        export_hdf5(tmp_path / "set", tmp_path / "out.h5", voxel_size=2.0)
    with pytest.raises(UsageError, match="no entries there"):
        export_hdf5(tmp_path / "set", tmp_path / "out.h5", splits=["test"])
    shutil.rmtree(tmp_path / "set/store")
    with pytest.raises(StoreError):
        export_hdf5(tmp_path / "set", tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()
    assert len(read_dataset(tmp_path / "set").rows) == 1
