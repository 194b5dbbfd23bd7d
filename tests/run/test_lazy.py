from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emres.archive.mrc import read_mrc
from emres.archive.mrc_write import write_mrc
from emres.archive.store import Store, open_volume
from emres.errors import UsageError
from emres.model import inference
from emres.run.ingest import import_map
from emres.run.lazy import load_model, predict
from emres.run.predict import predict_entry, predict_job
from emres.volume.grid import Grid, grid_of, make_volume
from tests.run.conftest import GRID, toy_density


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the boxes that go through the net."""
    shapes: list[tuple[int, ...]] = []
    real = inference._forward

    def counting(net, density, *rest):
        shapes.append(density.shape)
        return real(net, density, *rest)

    monkeypatch.setattr(inference, "_forward", counting)
    return shapes


def test_lazy_equals_run(entry, toy_model: Path) -> None:
    predict_entry(predict_job(entry.path, str(toy_model)))
    stored = open_volume(entry.path, "local_resolution/toy@1").values
    for core in (96, 32):
        lazy = predict(open_volume(entry.path), toy_model, core=core)
        np.testing.assert_allclose(lazy.compute(scheduler="sync").values, stored, rtol=1e-4)


def test_nothing_is_computed_before_it_is_asked_for(toy_map: Path, toy_model: Path, forwards: list) -> None:
    lazy = predict(read_mrc(toy_map), toy_model, core=24)
    assert forwards == []
    assert lazy.dtype == np.float32
    assert grid_of(lazy).matches(GRID)


def test_a_slice_computes_only_the_blocks_under_it(toy_map: Path, toy_model: Path, forwards: list) -> None:
    lazy = predict(read_mrc(toy_map), toy_model, mask="none", core=24)
    lazy[:8, :8, :8].compute(scheduler="sync")
    of_slice = len(forwards)
    lazy.compute(scheduler="sync")
    assert 0 < of_slice * 3 < len(forwards) - of_slice


def test_a_map_may_be_smaller_than_the_halo_of_the_net(tmp_path: Path, toy_model: Path) -> None:
    density, grid = toy_density()[20:34, :50, 10:60], Grid((14, 50, 50), (1.5, 1.5, 1.5))
    volume = make_volume(np.ascontiguousarray(density), grid)
    imported = import_map(write_mrc(tmp_path / "thin.mrc", volume), Store(tmp_path / "store"), "thin")
    predict_entry(predict_job(imported.path, str(toy_model), mask="none"))
    stored = open_volume(imported.path, "local_resolution/toy@1").values
    for core in (96, 24):
        lazy = predict(volume, toy_model, mask="none", core=core).compute(scheduler="sync").values
        np.testing.assert_allclose(lazy, stored, rtol=1e-4)


def test_a_mask_can_be_a_volume(toy_map: Path, toy_model: Path) -> None:
    mask = np.zeros(GRID.shape, dtype=np.float32)
    mask[30:40, 20:40, 25:45] = 1
    answer = predict(read_mrc(toy_map), load_model(toy_model), mask=make_volume(mask, GRID, kind="mask"))
    assert np.array_equal(answer.compute(scheduler="sync").values > 0, mask > 0)


def test_a_plain_array_is_refused_with_the_cure(toy_model: Path) -> None:
    import xarray as xr

    with pytest.raises(UsageError, match="make_volume"):
        predict(xr.DataArray(toy_density()), toy_model)
