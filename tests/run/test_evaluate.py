"""An evaluation as a whole: it goes on after a kill, no failure stops it, what is written is what was measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emres.archive.manifest import DataSet, write_dataset
from emres.archive.mrc_write import write_mrc
from emres.archive.store import Store
from emres.errors import StoreError, UsageError
from emres.run.card import card, told
from emres.run.evaluate import evaluate
from emres.run.evaluate_model import BLIND, TOLD, Answer
from emres.run.evaluate_plan import EvaluationPlan, spread_rows
from emres.run.evaluate_report import markdown
from emres.run.evaluate_tables import between, calibration_of, degradation, errors_table, joined_histogram
from emres.volume.grid import Grid, make_volume
from tests.model.conftest import contract
from tests.run.toy_dataset import add_entry, target_of, texture

SMALL = Grid((28, 30, 32), (1.5, 1.5, 1.5))


@dataclass
class FakeModel:
    """Says the target of an entry of 4 Å and what is to be added, and counts how often it was asked."""

    wrong: float = 0.5
    fails_on: str = ""
    calls: int = 0
    can_be_told: bool = True
    spread: bool = True

    def facts(self) -> dict[str, Any]:
        return {"model": "fake@1", "weights_sha256": f"{self.wrong}"}

    def __call__(self, volume: Any, reported: float | None, mask: Any) -> Answer:
        self.calls += 1
        if volume.attrs.get("emdb_id") == self.fails_on:
            raise RuntimeError("this map is too much")
        truth = target_of(Grid(volume.shape, SMALL.voxel_size), 4.0)
        answer = np.where(truth > 0, truth + np.float32(self.wrong if reported is None else 0.1), 0).astype(np.float32)
        return Answer(answer, np.full(volume.shape, 0.6, np.float32) if self.spread else None)


@pytest.fixture(scope="module")
def written_once(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    folder = tmp_path_factory.mktemp("sets") / "set"
    store = Store(folder / "store")
    rows = [
        add_entry(store, name, grid=SMALL, resolution=4.0, halves=name != "c", split=split, family=f"f{name}")
        for name, split in (("a", "test"), ("b", "test"), ("c", "test"), ("t", "train"))
    ]
    found = DataSet(folder, tuple(replace(row, reported=3.5) for row in rows))
    write_dataset(found)
    return found


@pytest.fixture
def dataset(written_once: DataSet, tmp_path: Path) -> DataSet:
    return replace(written_once, folder=Path(shutil.copytree(written_once.folder, tmp_path / "set")))


@pytest.fixture
def plan_of(dataset: DataSet, tmp_path: Path) -> Callable[..., EvaluationPlan]:
    def plan(model: FakeModel, **changes: Any) -> EvaluationPlan:
        return EvaluationPlan(model, tmp_path / "out", **{"dataset": dataset, "few": 0, **changes})  # type: ignore[arg-type]

    return plan


@pytest.fixture
def drawn() -> None:
    """Asked for by the tests that look at the pictures."""


@pytest.fixture(autouse=True)
def few_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than everything else here."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("emres.run.evaluate_report._pictures", lambda *_: {})


def read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "evaluation.json").read_text(encoding="utf-8")))


def test_what_is_written_is_what_was_measured(plan_of, drawn: None, tmp_path: Path) -> None:
    found = evaluate(plan_of(FakeModel()))
    written = read(tmp_path / "out")
    assert written == found.evaluation
    table = written["densities"]["average"]["table"]
    assert table[BLIND]["mean"]["mae"] == pytest.approx(0.5, abs=1e-4)
    assert table[TOLD]["mean"]["mae"] == pytest.approx(0.1, abs=1e-4)
    assert (table[BLIND]["maps"], written["densities"]["map"]["maps"]) == (2, 3)
    assert written["densities"]["map"]["calibration"][BLIND]["within"] == 1
    assert set(written["densities"]["map"]["families"]) == {"fa", "fb", "fc"}
    assert written["degradation"]["maps"] == 2
    assert written["degradation"][BLIND]["mean"] == pytest.approx(0, abs=1e-4)
    assert str(tmp_path) not in json.dumps(written)
    text = (tmp_path / "out/evaluation.md").read_text(encoding="utf-8")
    for picture in ("scatter_average.png", "calibration_map.png"):
        assert picture in text
        assert (tmp_path / "out" / picture).read_bytes().startswith(b"\x89PNG")
    assert "| model | 2 | 0.50 |" in text
    assert "the entry has no half maps (1 entries)" in text


def test_the_same_command_computes_nothing_twice_and_another_model_does(plan_of, tmp_path: Path) -> None:
    first, again, other = FakeModel(), FakeModel(), FakeModel(wrong=0.7)
    evaluate(plan_of(first))
    before = read(tmp_path / "out")
    assert {outcome.status for outcome in evaluate(plan_of(again)).outcomes} == {"skipped"}
    assert (first.calls, again.calls) == (10, 0)
    assert read(tmp_path / "out") == before
    evaluate(plan_of(other))
    assert other.calls == 10
    assert read(tmp_path / "out")["densities"]["map"]["table"][BLIND]["mean"]["mae"] == pytest.approx(0.7, abs=1e-4)


def test_a_killed_evaluation_goes_on(plan_of) -> None:
    class Killed(BaseException):
        pass

    def kill_at_c(name: str, stage: str, done: int, total: int) -> None:
        if name == "c":
            raise Killed

    with pytest.raises(Killed):
        evaluate(plan_of(FakeModel()), kill_at_c)
    rest = FakeModel()
    outcomes = evaluate(plan_of(rest)).outcomes
    assert [outcome.status for outcome in outcomes] == ["skipped", "skipped", "done"]
    assert rest.calls == 2


def test_a_map_on_which_the_model_fails_is_told_tried_again_and_stops_nothing(plan_of, tmp_path: Path) -> None:
    evaluate(plan_of(FakeModel(fails_on="b")))
    written = read(tmp_path / "out")
    assert set(written["failed"]) == {"b (average)", "b (map)"}
    assert written["densities"]["map"]["maps"] == 2
    assert "this map is too much" in (tmp_path / "out/evaluation.md").read_text(encoding="utf-8")
    healed = FakeModel()
    evaluate(plan_of(healed))
    assert healed.calls == 4
    assert read(tmp_path / "out")["failed"] == {}


def test_an_entry_that_vanished_is_a_failure_like_any_other(plan_of, dataset: DataSet, tmp_path: Path) -> None:
    Store(dataset.folder / "store").entry("a").discard()
    evaluate(plan_of(FakeModel()))
    assert "has vanished" in read(tmp_path / "out")["failed"]["a (evaluate)"]


def test_nothing_works_is_told_too(plan_of, tmp_path: Path, dataset: DataSet) -> None:
    for name in "abc":
        Store(dataset.folder / "store").entry(name).discard()
    assert evaluate(plan_of(FakeModel())).evaluation["densities"] == {}
    assert "has vanished" in (tmp_path / "out/evaluation.md").read_text(encoding="utf-8")


def test_an_empty_side_is_refused_and_nothing_is_written(plan_of, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the validation side of .* is empty"):
        evaluate(plan_of(FakeModel(), split="validation"))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_computed(plan_of, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    model = FakeModel()
    with pytest.raises(StoreError, match="cannot be written"):
        evaluate(plan_of(model))
    assert model.calls == 0


def test_two_evaluations_do_not_write_one_folder(plan_of) -> None:
    second = []

    def begin_another(name: str, stage: str, done: int, total: int) -> None:
        with pytest.raises(StoreError, match="another run"):
            evaluate(plan_of(FakeModel()))
        second.append(name)

    evaluate(plan_of(FakeModel()), begin_another)
    assert second


def test_a_few_rows_are_spread_over_the_resolutions(dataset: DataSet) -> None:
    rows = [replace(dataset.rows[0], entry=f"e{k}", resolution=float(k)) for k in (5, 1, 3, 2, 4)]
    assert [row.resolution for row in spread_rows(rows, 3)] == [1, 3, 5]
    assert spread_rows(rows, 9) == tuple(rows)


def test_real_maps_stand_against_what_is_reported(drawn: None, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    lines = ["file\temdb_id\treported_resolution_A"]
    for k, (name, reported) in enumerate((("one", "3.5"), ("two", "7"), ("three", "5"), ("four", "4?"))):
        write_mrc(maps / f"{name}.mrc", make_volume(texture(SMALL, k), SMALL))
        lines.append(f"{name}.mrc\tEMD-{k}\t{reported}")
    lines.append("gone.mrc\tEMD-9\t3.0")
    (maps / "maps.tsv").write_text("\n".join(lines), encoding="utf-8")
    plan = EvaluationPlan(FakeModel(), tmp_path / "out", real=maps)  # type: ignore[arg-type]
    evaluation = evaluate(plan).evaluation
    found = evaluation["real"]["factors"]["usual"]
    median = float(np.median((truth := target_of(SMALL, 4.0))[truth > 0]))
    expected = np.array([3.5, 7, 5]) * 1.13
    assert found["all"][BLIND]["error"] == pytest.approx(np.abs(median + 0.5 - expected).mean(), abs=1e-3)
    assert found["all"]["maps"] == 3
    assert found["usual"]["maps"] == 1
    assert found["all"]["best_constant"] == pytest.approx(np.abs(np.median(expected) - expected).mean(), abs=1e-3)
    assert list(evaluation["failed"]) == ["gone.mrc (real map)"]
    assert (tmp_path / "out/real_maps.png").is_file()
    assert "| EMD-1 | two.mrc | 1.50 | 7 |" in (tmp_path / "out/evaluation.md").read_text(encoding="utf-8")


def test_a_table_of_real_maps_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "maps.tsv").write_text("name\tvalue\na\t3\n")
    plan = EvaluationPlan(FakeModel(), tmp_path / "out", real=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no table of maps"):
        evaluate(plan)


def measured(mae: float, **more: Any) -> dict[str, Any]:
    errors = {"mae": mae, "rmse": mae, "spearman": None, "median_error": 0.0, "within_half": 1.0, "within_one": 1.0,
              "voxels": 9, "shift": 0.0, "pattern": 0.0}  # fmt: skip
    return {"errors": {BLIND: errors}, **more}


def test_tables_average_over_maps_and_leave_out_what_is_no_number() -> None:
    table = errors_table([measured(1.0), measured(2.0), measured(6.0)])
    assert (table[BLIND]["mean"]["mae"], table[BLIND]["median"]["mae"], table[BLIND]["maps"]) == (3.0, 2.0, 3)
    assert np.isnan(table[BLIND]["mean"]["spearman"])
    found = degradation([{"densities": {"average": measured(1.0), "map": measured(1.2), "map_2": measured(1.6)}}])
    assert found is not None
    assert found["maps"] == 2
    assert found[BLIND]["mean"] == pytest.approx(0.4)
    assert degradation([{"densities": {"map": measured(1.0)}}]) is None


def test_histograms_and_calibrations_count_every_map_alike() -> None:
    joined = joined_histogram([[[3, 3, 10]], [[3, 3, 500], [4, 3, 500]]])
    assert joined["cells"] == [[3, 3, 750000.0], [4, 3, 250000.0]]
    tenths = {"sigma": [0.1, 0.2], "share": [0.5, 0.7], "error": [0.1, 0.3]}
    one, other = {"within": 0.6, **tenths}, {"within": 0.8, "sigma": [0.3], "share": [0.9], "error": [0.1]}
    found = calibration_of([{"calibration": {BLIND: one}}, {"calibration": {BLIND: other}}, {"calibration": {}}])
    assert found is not None
    assert (found["maps"], found["within"]) == (2, pytest.approx(0.7))
    assert found["share"] == pytest.approx([0.7, 0.7])
    assert between(4.0, (3.0, 4.0, 5.0)) == "4 - 5"


def test_a_card_tells_training_and_measurement_and_no_number_beside(plan_of) -> None:
    evaluation = evaluate(plan_of(FakeModel(wrong=2.0))).evaluation
    training = {
        "seed": 7, "hardware": "two cores", "split": {"train": ["1", "2"]}, "curve": [0.5] * 70, "about": "A toy.",
        "limits": "* Everything.", "ablation": {"with": {"mae": 0.5}, "without": {"mae": 0.75}},
    }  # fmt: skip
    text = card(contract(name="toy", version="1", training=training), evaluation)
    for part in ("# toy@1", "A toy.", "* seed: 7", "70 values, from 0.5 to 0.5", "| without | 0.75 |",
                 "| model | 2 | 2.00", "* worse than each map's own median, average: ", "* Everything."):  # fmt: skip
        assert part in text
    assert ".png" not in text
    assert told({"empty": {}}) == "* empty: "


def test_what_is_wanted_stands_beside_what_was_found(plan_of, tmp_path: Path) -> None:
    checks = evaluate(plan_of(FakeModel(wrong=0.45))).evaluation["checks"]
    found = {(check["what"], check["wanted"]): check for check in checks}
    assert found["plain, model: MAE, Å", "<= 0.40"]["met"] is False
    assert found["as deposited, model: MAE, Å", "<= 0.50"]["met"] is True
    assert found[f"plain, {TOLD}: MAE, Å", "<= 0.40"]["found"] == pytest.approx(0.1, abs=1e-4)
    assert found["plain, model: share within one sigma", "0.60 to 0.76"]["met"] is False
    assert found["as deposited against plain, model: MAE, Å", "<= 0.10"]["met"] is True
    text = (tmp_path / "out/evaluation.md").read_text(encoding="utf-8")
    assert "| plain, model: MAE, Å | <= 0.40 | 0.45 | missed |" in text


def test_the_words_follow_the_numbers(plan_of) -> None:
    evaluation = evaluate(plan_of(FakeModel(wrong=2.0))).evaluation
    assert "which beats it" in markdown(evaluation, {})
    assert "which beats it" not in markdown(evaluate(plan_of(FakeModel(wrong=0.0))).evaluation, {})
