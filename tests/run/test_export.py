from __future__ import annotations

from pathlib import Path

import gemmi
import mrcfile
import numpy as np
import pytest

from emres.archive.mrc import read_mrc
from emres.archive.store import Store
from emres.archive.writer import VolumeWriter
from emres.errors import StoreError, UsageError
from emres.run.export import export_mrc, filled_volume, labels_of, latest_result
from emres.run.ingest import import_map
from emres.run.predict import predict_entry, predict_job
from emres.volume.grid import Grid, make_volume
from emres.volume.masking import fill_outside
from tests.archive.volumes import written
from tests.run.conftest import toy_density


def permuted_map(path: Path, order: tuple[int, int, int], nstart: tuple[int, int, int]) -> Path:
    """A map whose file axes are permuted and whose place is told by nstart, written without emres."""
    density = toy_density()  # z, y, x
    file_axes = [3 - axis for axis in (order[2], order[1], order[0])]  # x=1, y=2, z=3 -> index in zyx
    with mrcfile.new(path) as file:
        file.set_data(np.ascontiguousarray(density.transpose(file_axes)))
        header = file.header
        header.mapc, header.mapr, header.maps = order
        by_axis = dict(zip((1, 2, 3), nstart, strict=True))
        header.nxstart, header.nystart, header.nzstart = (by_axis[axis] for axis in order)
        z, y, x = density.shape
        header.mx, header.my, header.mz = x, y, z
        header.cella = (1.9 * x, 1.9 * y, 1.9 * z)
    return path


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (2, 1, 3), (3, 1, 2), (1, 3, 2)])
def test_the_answer_lies_on_the_input_for_every_axis_order(tmp_path: Path, toy_model: Path, order) -> None:
    source = permuted_map(tmp_path / "in.mrc", order, nstart=(-5, 7, 11))
    group = import_map(source, Store(tmp_path / "store"), "permuted")
    predict_entry(predict_job(group.path, str(toy_model), mask="none"))
    path = export_mrc(group, tmp_path / "out.mrc")
    maps = [gemmi.read_ccp4_map(str(name)) for name in (source, path)]
    density = gemmi.read_ccp4_map(str(export_mrc(group, tmp_path / "map.mrc", "map")))
    for each in (*maps, density):
        each.setup(float("nan"), gemmi.MapSetup.ReorderOnly)
    starts = [[each.header_i32(word) for word in (5, 6, 7, 1, 2, 3)] for each in (*maps, density)]
    assert starts[0] == starts[1] == starts[2]
    assert maps[0].grid.unit_cell.approx(maps[1].grid.unit_cell, 1e-3)
    assert np.array_equal(np.array(maps[0].grid, copy=False), np.array(density.grid, copy=False))


def test_labels_record_program_model_and_date(entry, toy_model: Path, tmp_path: Path) -> None:
    facts = predict_entry(predict_job(entry.path, str(toy_model)))
    with mrcfile.open(export_mrc(entry, tmp_path / "out.mrc")) as file:
        labels = " | ".join(label.decode() for label in file.header.label[: int(file.header.nlabl)])
    for word in ("emres", "local resolution", "toy@1", facts["date"], facts["weights_sha256"][:12], "mask auto"):
        assert word in labels


def test_export_into_a_folder_names_the_file(entry, toy_model: Path, tmp_path: Path) -> None:
    predict_entry(predict_job(entry.path, str(toy_model)))
    assert export_mrc(entry, tmp_path).name == "toy_local_resolution.mrc"
    assert export_mrc(entry, tmp_path, "map").name == "toy_map.mrc"


def test_export_refuses_to_replace_and_says_what_is_missing(entry, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no local_resolution.*emres predict"):
        latest_result(entry)
    with pytest.raises(StoreError, match="no half_map_1"):
        export_mrc(entry, tmp_path / "x.mrc", "half_map_1")
    assert not (tmp_path / "x.mrc").exists()
    export_mrc(entry, tmp_path / "x.mrc", "map")
    with pytest.raises(UsageError, match="exists"):
        export_mrc(entry, tmp_path / "x.mrc", "map")


def test_a_map_is_filled_across_the_chunks_of_the_store(entry, tmp_path: Path) -> None:
    """A ball that touches the face between two chunks from one side is carried on to the other."""
    grid, kind = entry.grid(), "local_resolution/ball@1"
    z, y, x = (np.arange(n) - c for n, c in zip(grid.shape, (58, 30, 33), strict=True))
    ball = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2 < 36
    values = np.where(ball, np.random.default_rng(2).uniform(2, 9, grid.shape), 0).astype(np.float32)
    assert values[:64].any()
    assert not values[64:].any()
    with VolumeWriter(entry, kind, grid) as writer:
        writer.add(0, values)
        writer.commit({"program": "emres", "date": "", "model": "ball@1", "weights_sha256": "", "mask": "none"})
    filled = read_mrc(export_mrc(entry, tmp_path / "filled.mrc", kind, filled=True)).values
    assert np.array_equal(filled, fill_outside(values, 5))
    assert filled[64:].any()


def test_what_resmap_left_at_100_is_filled_like_the_background() -> None:
    """It would be interpolated with its surroundings where a surface lies, to values that nobody measured."""
    values = np.array([4.0, 5.0, 100.0, 100.0, 0.0, np.nan], dtype=np.float32).reshape(1, 1, 6)
    filled = filled_volume(make_volume(values, Grid((1, 1, 6), (1.0, 1.0, 1.0)), kind="local_resolution/resmap"))
    assert filled.values.ravel().tolist() == [4.0, 5.0, 5.0, 5.0, 5.0, 5.0]


def test_a_result_of_another_program_is_labelled_with_what_is_known(tmp_path: Path) -> None:
    group = Store(tmp_path / "store").create("a", {})
    written(group, "local_resolution/mine", np.ones((4, 4, 4), np.float32), Grid((4, 4, 4), (1.0, 1.0, 1.0)))
    assert labels_of(group, "local_resolution/mine")[0] == "emres local resolution (A) of a, no date"
