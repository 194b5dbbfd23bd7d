"""The noise floor: the same simulation with other noise, its target by the same method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emres.archive.manifest import DataSet
from emres.archive.store import Store
from emres.errors import StoreError, UsageError
from emres.run.evaluate_noise import noise_floor
from emres.run.sources import build_dataset
from tests.archive.volumes import written
from tests.run.atomic_models import write_models
from tests.run.toy_dataset import add_entry

RECIPE = {"like": "low-resolution", "framing": {"padding": 14.0}}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("noise") / "models", "1abc.pdb")


@pytest.fixture(scope="module")
def dataset(models: Path) -> DataSet:
    return build_dataset(models.parent / "set", simulate=models, recipe=RECIPE)


def test_other_noise_gives_another_target_and_the_same_noise_the_same(dataset: DataSet, models: Path) -> None:
    row = dataset.rows[0]
    same = noise_floor(dataset, row, models, draw=0)
    other = noise_floor(dataset, row, models, draw=1)
    assert same.mae == pytest.approx(0, abs=1e-3)
    assert 0.01 < other.mae < 5
    assert other.voxels > 100


def test_a_model_that_is_missing_is_told(dataset: DataSet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the model of 1abc-1 is missing"):
        noise_floor(dataset, dataset.rows[0], tmp_path)


def test_an_entry_that_was_not_simulated_has_no_floor(tmp_path: Path) -> None:
    row = add_entry(Store(tmp_path / "store"), "a", halves=True)
    with pytest.raises(UsageError, match="was not simulated"):
        noise_floor(DataSet(tmp_path, (row,)), row, tmp_path)


def test_what_this_program_would_make_differently_has_no_floor(dataset: DataSet, models: Path) -> None:
    group = Store(dataset.store_of(dataset.rows[0])).entry("1abc-1")
    values, grid = np.asarray(group.array("half_map_1")[...]), group.grid("half_map_1")
    written(group, "half_map_1", values + 0.1 * values.std(), grid)
    with pytest.raises(StoreError, match="simulates 1abc-1 differently"):
        noise_floor(dataset, dataset.rows[0], models)
