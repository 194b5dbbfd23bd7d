"""One row of a data set, measured beside what a model has to beat: the numbers are those of the arrays."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emres.archive.manifest import DataSet, Row
from emres.archive.store import EntryGroup, Store
from emres.errors import MapError, UsageError
from emres.run.evaluate_baselines import TrainingSide, estimate_of_average, one_target
from emres.run.evaluate_map import (
    GLOBAL_FSC,
    LOCAL_RMS,
    OWN_MEDIAN,
    REPORTED,
    TRAINING_MEDIAN,
    VOXEL_SIZE,
    Measuring,
    measure_row,
)
from emres.run.evaluate_model import BLIND, TOLD, Answer
from emres.volume.grid import Grid
from tests.archive.volumes import written
from tests.run.toy_dataset import TARGET, add_entry, ball, target_of

SMALL = Grid((32, 30, 34), (1.5, 1.5, 1.5))
NOTHING = TrainingSide.of([])
INSIDE = target_of(SMALL, 4.0) > 0


@pytest.fixture(scope="module")
def written_once(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    folder = tmp_path_factory.mktemp("sets") / "set"
    row = add_entry(Store(folder / "store"), "a", grid=SMALL, resolution=4.0, halves=True, split="test")
    return DataSet(folder, (replace(row, reported=3.5),))


@pytest.fixture
def dataset(written_once: DataSet, tmp_path: Path) -> DataSet:
    return replace(written_once, folder=Path(shutil.copytree(written_once.folder, tmp_path / "set")))


def says(offset: float, sigma: float | None = None):
    """A model that is off by a constant, and farther off by 0.5 Å if it is told nothing."""

    def predict(volume, reported, mask) -> Answer:
        assert volume.shape == SMALL.shape
        wrong = offset if reported is None else offset - 0.5
        answer = np.where(INSIDE, target_of(SMALL, 4.0) + np.float32(wrong), 0)
        return Answer(answer, None if sigma is None else np.full(SMALL.shape, sigma, np.float32))

    return predict


def test_the_model_and_the_constants_are_measured_on_the_same_voxels(dataset: DataSet) -> None:
    training = TrainingSide((1.5,) * 25, (3.0,) * 25, 3.0, 1.1)
    record = measure_row(dataset, dataset.rows[0], Measuring(says(0.8), training))
    assert set(record["densities"]) == {"average", "map"}
    assert not record["failures"]
    errors = record["densities"]["average"]["errors"]
    truth = target_of(SMALL, 4.0)[INSIDE]
    assert errors[BLIND]["mae"] == pytest.approx(0.8, abs=1e-5)
    assert errors[TRAINING_MEDIAN]["mae"] == pytest.approx(np.abs(truth - 3.0).mean(), rel=1e-5)
    assert errors[VOXEL_SIZE]["mae"] == errors[TRAINING_MEDIAN]["mae"]
    assert errors[REPORTED]["mae"] == pytest.approx(np.abs(truth - 3.5 * 1.1).mean(), rel=1e-5)
    assert errors[OWN_MEDIAN]["median_error"] == pytest.approx(0, abs=1e-5)
    assert np.isnan(errors[LOCAL_RMS]["mae"])
    assert errors[GLOBAL_FSC]["mae"] > 0
    assert {found["voxels"] for found in errors.values()} == {truth.size}
    assert record["densities"]["map"]["covered"] == 1


def test_a_model_that_can_be_told_is_measured_both_ways(dataset: DataSet) -> None:
    errors = measure_row(dataset, dataset.rows[0], Measuring(says(0.8, 1.0), NOTHING, told=True))["densities"]["map"]
    assert errors["errors"][BLIND]["mae"] == pytest.approx(0.8, abs=1e-5)
    assert errors["errors"][TOLD]["mae"] == pytest.approx(0.3, abs=1e-5)
    assert errors["calibration"][TOLD]["within"] == 1
    blind = measure_row(dataset, replace(dataset.rows[0], reported=None), Measuring(says(0.8), NOTHING, told=True))
    assert TOLD not in blind["densities"]["map"]["errors"]


def test_voxels_at_the_clip_value_do_not_count(dataset: DataSet) -> None:
    group, target = Store(dataset.store_of(dataset.rows[0])).entry("a"), target_of(SMALL, 4.0)
    target[:16] = np.where(target[:16] > 0, 3.0, 0)  # two voxels: no finer answer was possible
    target[16] = np.where(target[16] > 0, np.nan, 0)
    written(group, TARGET, target, SMALL, window=30.0)
    record = measure_row(dataset, dataset.rows[0], Measuring(says(0.0), NOTHING))
    assert record["densities"]["map"]["voxels"] == INSIDE[17:].sum()
    assert record["densities"]["map"]["errors"][BLIND]["mae"] == pytest.approx(0, abs=1e-5)


def test_a_target_that_says_nothing_is_told(dataset: DataSet) -> None:
    group = Store(dataset.store_of(dataset.rows[0])).entry("a")
    written(group, TARGET, np.full(SMALL.shape, 3.0, np.float32), SMALL, window=30.0)
    with pytest.raises(MapError, match="nowhere within its range"):
        measure_row(dataset, dataset.rows[0], Measuring(says(0.0), NOTHING))


def test_a_deposit_that_shows_a_part_is_measured_against_that_part(dataset: DataSet) -> None:
    def lower_half(volume, reported, mask) -> Answer:
        answer = says(0.3)(volume, reported, mask).resolution
        answer[16:] = 0
        return Answer(answer)

    found = measure_row(dataset, dataset.rows[0], Measuring(lower_half, NOTHING))["densities"]["map"]
    assert found["covered"] == pytest.approx(INSIDE[:16].sum() / INSIDE.sum())
    assert found["errors"][OWN_MEDIAN]["median_error"] == pytest.approx(0, abs=1e-6)
    assert found["spread"] < 0.7 * np.ptp(target_of(SMALL, 4.0)[INSIDE])


def test_one_voxel_is_enough(dataset: DataSet) -> None:
    def one_voxel(volume, reported, mask) -> Answer:
        answer = np.zeros(SMALL.shape, np.float32)
        answer[tuple(np.argwhere(INSIDE)[0])] = 4.0
        return Answer(answer, answer / 10)

    found = measure_row(dataset, dataset.rows[0], Measuring(one_voxel, NOTHING))["densities"]["map"]
    assert found["voxels"] == 1
    assert np.isnan(found["errors"][BLIND]["spearman"])
    assert len(found["calibration"][BLIND]["share"]) == 1


def test_a_density_on_which_the_model_fails_does_not_take_the_other_with_it(dataset: DataSet) -> None:
    calls = []

    def moody(volume, reported, mask) -> Answer:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("out of luck")
        return says(0.2)(volume, reported, mask)

    record = measure_row(dataset, dataset.rows[0], Measuring(moody, NOTHING))
    assert record["failures"] == {"average": "RuntimeError: out of luck"}
    assert record["densities"]["map"]["errors"][BLIND]["mae"] == pytest.approx(0.2, abs=1e-5)


@pytest.mark.parametrize(
    ("value", "why"), [(np.nan, "NaN or infinite"), (0.0, "answers nowhere"), (100.0, "answers nowhere")]
)
def test_a_prediction_without_answers_is_a_failure(dataset: DataSet, value: float, why: str) -> None:
    def empty(volume, reported, mask) -> Answer:
        return Answer(np.full(SMALL.shape, value, np.float32))

    assert why in measure_row(dataset, dataset.rows[0], Measuring(empty, NOTHING))["failures"]["map"]


def test_without_half_maps_the_global_fsc_is_missing_and_noted(tmp_path: Path) -> None:
    row = add_entry(Store(tmp_path / "store"), "a", grid=SMALL, resolution=4.0)
    record = measure_row(DataSet(tmp_path, (row,)), row, Measuring(says(0.1), NOTHING, estimators=("monores",)))
    assert record["notes"] == {GLOBAL_FSC: "the entry has no half maps"}
    assert set(record["densities"]["map"]["errors"]) == {BLIND, OWN_MEDIAN, LOCAL_RMS}


def test_a_box_of_cubes_is_no_map(dataset: DataSet) -> None:
    with pytest.raises(UsageError, match="box of cubes"):
        measure_row(dataset, replace(dataset.rows[0], lattice=16), Measuring(says(0.0), NOTHING))


def estimated(group: EntryGroup) -> np.ndarray:
    return estimate_of_average(group, np.asarray(group.array("half_map_1")[...]), ball(SMALL) > 0.5, "monores")


def test_an_estimate_of_the_average_is_kept_in_the_store(dataset: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    group = Store(dataset.store_of(dataset.rows[0])).entry("a")
    first = estimated(group)
    assert group.has("local_resolution/monores+average")
    monkeypatch.setattr("emres.run.methods.Recipe.run", lambda *_: pytest.fail("estimated again"))
    assert (estimated(group) == first).all()


def rows_of(*sizes_and_medians: tuple[float, float]) -> list[Row]:
    return [
        Row(f"e{k}", "store", TARGET, "train", f"e{k}", 1.0, ("map",), median, 3.0, 5.0, size, 100, median / 1.2)
        for k, (size, median) in enumerate(sizes_and_medians)
    ]


def test_the_training_side_tells_constants() -> None:
    side = TrainingSide.of(rows_of(*[(1.0, 3.0)] * 12, *[(3.0, 9.0)] * 10))
    assert side.median == 3.0
    assert side.at_voxel_size(1.2) == 3.0
    assert side.at_voxel_size(2.5) == 9.0
    assert side.local_over_global == pytest.approx(1.2)
    assert TrainingSide.of(rows_of((1.0, 3.0))).local_over_global is None
    assert (NOTHING.median, NOTHING.at_voxel_size(1.0)) == (None, None)


def test_of_several_targets_one_is_to_be_named() -> None:
    rows = rows_of((1.0, 3.0), (1.0, 4.0))
    rows[1] = replace(rows[1], target="local_resolution/monores")
    with pytest.raises(UsageError, match="--target"):
        one_target(rows, None)
    assert one_target(rows, "monores") == (rows[1],)
    with pytest.raises(UsageError, match="no such target"):
        one_target(rows, "resmap")
