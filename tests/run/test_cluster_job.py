"""Single maps on a cluster, and workers that are in another folder than who gives them work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client

from emres.archive.mrc_write import write_mrc
from emres.archive.store import EntryGroup, Store
from emres.errors import UsageError
from emres.run import estimate, predict
from emres.run.batch import BatchPlan, run_batch
from emres.run.cluster import connect
from emres.run.ingest import import_map
from emres.run.methods import make_recipe
from emres.run.single import estimate_input, predict_input
from emres.volume.grid import make_volume
from tests.run.conftest import GRID, toy_density


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with connect("local:1") as client:
        client.run(os.chdir, "/")
        yield client


@pytest.fixture
def pair(entry: EntryGroup, tmp_path: Path) -> EntryGroup:
    """An entry with half maps."""
    rng = np.random.default_rng(0)
    for kind in ("half_map_1", "half_map_2"):
        noisy = toy_density() + rng.normal(scale=0.3, size=GRID.shape).astype(np.float32)
        import_map(
            write_mrc(tmp_path / f"{kind}.mrc", make_volume(noisy, GRID)), Store(tmp_path / "store"), "toy", kind=kind
        )
    return entry


def never(*_: Any, **__: Any) -> None:
    raise AssertionError("this is work for a worker")


def answer(entry: EntryGroup, kind: str) -> Any:
    return np.asarray(entry.array(kind)[...])


def test_a_batch_whose_paths_are_relative_goes_to_workers_in_another_folder(
    client: Client, entry: EntryGroup, toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.symlink(toy_model, "net")
    write_mrc(Path("mask.mrc"), make_volume((toy_density() > 0.5).astype(np.float32), GRID))
    for model in ("./net", "monores"):
        plan = BatchPlan(Store(Path("store")), model, mask="mask.mrc", export=Path("out"))
        [outcome] = run_batch(["toy"], plan, client)
        assert outcome.status == "done", outcome.reason


def test_one_map_is_predicted_by_a_worker_with_the_same_answer(
    client: Client, entry: EntryGroup, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_input(str(entry.path), model=str(toy_model))
    here = answer(entry, "local_resolution/toy@1")
    (entry.path / "local_resolution").rename(entry.path.parent / "here")
    monkeypatch.setattr(predict, "predict_entry", never)
    facts = predict_input(str(entry.path), model=str(toy_model), client=client)
    assert facts["computed"] == 1
    assert np.array_equal(answer(entry, "local_resolution/toy@1"), here)


def test_half_maps_are_compared_by_a_worker_with_the_same_answer(
    client: Client, pair: EntryGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("fsc")
    estimate_input(str(pair.path), recipe)
    here = answer(pair, "local_resolution/fsc-dense")
    (pair.path / "local_resolution").rename(pair.path.parent / "here")
    monkeypatch.setattr(estimate, "estimate_entry", never)
    estimate_input(str(pair.path), recipe, client=client)
    np.testing.assert_allclose(answer(pair, "local_resolution/fsc-dense"), here, rtol=1e-5)


def test_what_goes_wrong_on_a_worker_is_told_and_leaves_no_work_folder(
    client: Client, toy_map: Path, toy_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="contour level"):
        predict_input(str(toy_map), output=tmp_path / "out.mrc", model=str(toy_model), mask="contour", client=client)
    assert not list(tmp_path.iterdir())
