"""A net that is told of the whole map: the same answer by blocks, from the store, in a notebook; and how sure it is."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from emres.archive.mrc import read_mrc
from emres.archive.store import EntryGroup, Store, open_volume
from emres.errors import UsageError
from emres.model.condition import LENGTH
from emres.model.conditioned import ConditionedUNet
from emres.model.contract import WITH_SPREAD
from emres.model.familiar import familiar_of
from emres.run import predict as predict_module
from emres.run.ingest import import_map
from emres.run.lazy import predict
from emres.run.predict import predict_entry, predict_job
from emres.run.single import predict_input
from tests.model.conftest import contract
from tests.run.conftest import GRID

ARGUMENTS = {"channels": 4, "deep_channels": 8, "deep_layers": 1, "bands": 2}


def told_bundle(folder: Path, **changes: object) -> Path:
    from emres.model.bundle import save_bundle

    torch.manual_seed(3)
    net = ConditionedUNet(**ARGUMENTS).eval()
    torch.nn.init.normal_(net.film.films.weight, std=0.3)
    fields = {"name": "told", "architecture": "conditioned_unet", "arguments": ARGUMENTS, "halo": 20, "patterned": True}
    save_bundle(folder, net, contract(**{**fields, "output": WITH_SPREAD, "steps": 2, **changes}), "# told\n")
    return folder


@pytest.fixture(scope="module")
def told_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return told_bundle(tmp_path_factory.mktemp("models") / "told")


@pytest.fixture
def reporting(tmp_path: Path, toy_map: Path) -> EntryGroup:
    """An entry whose authors report 7 Å."""
    store = Store(tmp_path / "store")
    group = import_map(toy_map, store, "EMD-0007")
    import zarr

    attributes = group.attributes()
    attributes["entry"]["resolution"] = 7.0
    zarr.open_group(group.path, mode="a").update_attributes({"emres": attributes})
    return group


def values(group: EntryGroup, kind: str) -> np.ndarray:
    return open_volume(group.path, kind).values


def test_the_uncertainty_lies_beside_the_resolution(entry: EntryGroup, told_model: Path) -> None:
    facts = predict_entry(predict_job(entry.path, str(told_model)))
    resolution, spread = (values(entry, f"{kind}/told@1") for kind in ("local_resolution", "uncertainty"))
    np.testing.assert_array_equal(spread > 0, resolution > 0)
    assert facts["uncertainty"] == pytest.approx(np.median(spread[spread > 0]), abs=0.011)
    assert facts["reported"] is None


def test_blocks_on_disk_give_what_the_whole_map_gives(
    entry: EntryGroup, told_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = predict_job(entry.path, str(told_model))
    predict_entry(job)
    kinds = ("local_resolution/told@1", "uncertainty/told@1")
    whole = [values(entry, kind) for kind in kinds]
    for kind in kinds:
        shutil.rmtree(entry.path / kind)
    monkeypatch.setattr(predict_module, "_CORE", 32)
    blocks = dataclasses.replace(job, memory_bytes=0)
    assert predict_entry(blocks)["computed"] > 4
    for kind, before in zip(kinds, whole, strict=True):
        np.testing.assert_allclose(values(entry, kind), before, rtol=1e-4)


def test_a_notebook_gives_what_the_store_gives(entry: EntryGroup, told_model: Path) -> None:
    predict_entry(predict_job(entry.path, str(told_model), resolution=6.0))
    for kind, uncertainty in (("local_resolution", False), ("uncertainty", True)):
        lazy = predict(open_volume(entry.path), told_model, core=32, reported_resolution=6.0, uncertainty=uncertainty)
        np.testing.assert_allclose(
            lazy.compute(scheduler="sync").values, values(entry, f"{kind}/told@1"), rtol=1e-4, atol=1e-6
        )
        assert lazy.attrs["kind"] == f"{kind}/told@1"


def test_what_an_entry_reports_is_told_unless_the_prediction_is_blind(reporting: EntryGroup, told_model: Path) -> None:
    told, blind, other = (
        predict_entry(predict_job(reporting.path, str(told_model), **how))
        for how in ({}, {"blind": True}, {"resolution": 12.0})
    )
    assert (told["reported"], blind["reported"], other["reported"]) == (7.0, None, 12.0)
    assert len({told["median"], blind["median"], other["median"]}) == 3
    assert reporting.results() == ["local_resolution/told@1", "local_resolution/told@1+blind"]
    assert predict_entry(predict_job(reporting.path, str(told_model), blind=True))["computed"] == 0


def test_a_half_map_is_not_told_the_resolution_of_the_average(reporting: EntryGroup, told_model: Path) -> None:
    job = predict_job(reporting.path, str(told_model))
    assert job.reported == 7.0
    assert dataclasses.replace(job, kind="half_map_1").reported is None


def test_a_map_unlike_the_training_is_said_to_be(entry: EntryGroup, tmp_path: Path) -> None:
    conditions = np.random.default_rng(0).normal(scale=0.01, size=(50, LENGTH)).astype(np.float32) + 40
    conditions[:, -2:] = 0
    folder = told_bundle(tmp_path / "strict", familiar=familiar_of(conditions))
    facts = predict_entry(predict_job(entry.path, str(folder)))
    assert "unlike" in facts["warnings"][0]
    assert "half maps" in facts["warnings"][0]


def test_files_are_written_for_both(toy_map: Path, told_model: Path, tmp_path: Path) -> None:
    out, spread = tmp_path / "out.mrc", tmp_path / "spread.mrc"
    facts = predict_input(str(toy_map), output=out, uncertainty=spread, model=str(told_model), resolution=7.0)
    assert facts["uncertainty_output"] == str(spread)
    resolution, uncertainty = read_mrc(out).values, read_mrc(spread).values
    np.testing.assert_array_equal(uncertainty > 0, resolution > 0)
    assert resolution.shape == GRID.shape


def test_what_makes_no_sense_is_refused(entry: EntryGroup, told_model: Path, toy_model: Path, toy_map: Path) -> None:
    with pytest.raises(UsageError, match="length"):
        predict_job(entry.path, str(told_model), resolution=-3.0)
    with pytest.raises(UsageError, match="blind"):
        predict_job(entry.path, str(told_model), resolution=3.0, blind=True)
    with pytest.raises(UsageError, match="cannot be told"):
        predict_job(entry.path, str(toy_model), resolution=3.0)
    with pytest.raises(UsageError, match="cannot be told"):
        predict(read_mrc(toy_map), toy_model, reported_resolution=3.0)
    with pytest.raises(UsageError, match="how sure"):
        predict(read_mrc(toy_map), toy_model, uncertainty=True)
    with pytest.raises(UsageError, match="how sure"):
        predict_input(str(toy_map), uncertainty=Path("never.mrc"), output=Path("never2.mrc"), model=str(toy_model))
    assert not Path("never.mrc").exists()
