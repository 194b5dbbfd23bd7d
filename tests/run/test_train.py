"""A data set becomes a model; whatever happens on the way, the same command ends with the same weights."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from emres.archive.disk import only_writer
from emres.archive.manifest import DataSet, write_dataset
from emres.archive.store import Store
from emres.errors import EmresError, IntegrityError, ModelError, StoreError, UsageError
from emres.model.bundle import open_bundle
from emres.model.inference import make_predictor
from emres.model.train import Moment
from emres.model.train_plan import TrainPlan
from emres.model.train_state import Checkpoint
from emres.run.train_config import Training
from emres.run.train_files import CHECKPOINT, TrainFiles
from emres.run.train_processes import train_model
from emres.volume.threads import torch_threads
from tests.run.toy_dataset import toy_dataset

NET = {"channels": 4, "deep_channels": 4, "deep_layers": 1}
PLAN = TrainPlan(
    "compact_unet", NET, steps=6, batch=4, side=12, margin=1, voxel_size=1.5, epoch_steps=4, evaluate_every=2,
    validation_patches=8, checkpoint_every=1, parts=2,
)  # fmt: skip
CONDITIONED: dict[str, Any] = {
    "architecture": "conditioned_unet", "arguments": {**NET, "bands": 2}, "steps": 3, "level_steps": 2, "handled": 1,
    "stripped": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Not to be changed."""
    return toy_dataset(tmp_path_factory.mktemp("set"), 2)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longer than everything else together; ``calm`` has them."""
    monkeypatch.setattr(TrainFiles, "draw", lambda *_: None)


def training(dataset: DataSet, to: Path, **changes: Any) -> Training:
    own = {name: changes.pop(name) for name in ("restart", "processes", "threads", "workers") if name in changes}
    return Training(dataset.folder, to, replace(PLAN, **changes), **{"device": "cpu", "threads": 0, **own})


def trained(dataset: DataSet, to: Path, tell: Callable[[Moment], None] = lambda _: None, **changes: Any) -> dict:
    found = train_model(training(dataset, to, **changes), tell)
    assert found is not None
    return found


def history(folder: Path) -> dict[str, Any]:
    """What a training's history says, but for how long it took."""
    found = json.loads((folder / "history.json").read_text())
    return {key: value for key, value in found.items() if key != "seconds"}


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def calm(kept: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nobody disturbed."""
    folder = tmp_path_factory.mktemp("calm") / "net"
    trained(kept, folder)
    return folder


def assert_same(one: Path, two: Path) -> None:
    assert history(one) == history(two)
    assert (one / "weights.safetensors").read_bytes() == (two / "weights.safetensors").read_bytes()


# --- what comes of it


def test_a_training_leaves_a_model_that_predicts_and_says_where_it_comes_from(kept: DataSet, calm: Path) -> None:
    assert files(calm) == {
        "contract.json", "weights.safetensors", "card.md", "checkpoint.safetensors", "history.json", "curves.png",
        "examples.png",
    }  # fmt: skip
    told = history(calm)
    assert (len(told["loss"]), [look["step"] for look in told["looks"]]) == (6, [2, 4, 6])
    assert told["best"]["mae"] == min(look["mae"] for look in told["looks"])
    contract = open_bundle(calm).contract
    known = contract.training
    assert known["entries"] == {"train": ["e0", "e1"], "validation": ["v"], "test": []}
    assert known["plan"]["seed"] == known["seed"] == 0
    assert {"minutes", "hardware", "versions", "steps", "validation", "families"} <= set(known)
    assert f"{told['best']['mae']:.2f} Å at step" in (calm / "card.md").read_text()
    answer = make_predictor(calm)(np.ones((8, 8, 8), dtype=np.float32), np.ones((8, 8, 8), dtype=bool))
    assert (answer >= 2 * contract.voxel_size).all()


def test_training_lowers_the_error_it_is_judged_by(kept: DataSet, tmp_path: Path) -> None:
    moments: list[Moment] = []
    trained(kept, tmp_path / "net", moments.append, steps=40, evaluate_every=10, learning_rate=2e-2, averaging=0.9)
    told = history(tmp_path / "net")
    assert np.mean(told["loss"][-5:]) < 0.6 * np.mean(told["loss"][:5])
    assert told["best"]["mae"] <= told["looks"][0]["mae"]
    assert [moment.step for moment in moments if moment.mae is None] == list(range(1, 11))
    assert moments[-1] == Moment(
        40, 40, told["loss"][-1], moments[-1].rate, told["looks"][-1]["mae"], told["best"]["mae"]
    )


def test_the_time_that_readers_take_is_part_of_what_a_training_takes(
    kept: DataSet, tmp_path: Path, monkeypatch
) -> None:
    def slow(*_: object) -> None:
        time.sleep(5)

    monkeypatch.setattr("emres.run.train_readers.learn_readers", slow)
    assert trained(kept, tmp_path / "net", **CONDITIONED)["seconds"] >= 5


def test_a_conditioned_net_is_calibrated_and_knows_what_it_was_trained_on(kept: DataSet, tmp_path: Path) -> None:
    moments: list[Moment] = []
    trained(kept, tmp_path / "net", moments.append, **CONDITIONED)
    bundle = open_bundle(tmp_path / "net")
    contract = bundle.contract
    assert contract.conditioned
    assert contract.arguments == {**CONDITIONED["arguments"], "members": 2}
    assert contract.familiar["limit"] > 0
    assert bundle.net.film.surety.abs().max() > 0
    assert contract.spread_factor == pytest.approx(1, abs=0.2)  # kinds of maps have their own
    assert [what for what in dict.fromkeys(moment.what for moment in moments) if what != "numbers of maps"] == [
        "maps handled",
        "levels",
        "places",
        "maps read",
        "steps",
    ]
    assert "within" in history(tmp_path / "net")["best"]


@pytest.mark.parametrize("kind", ["legacy_dropout", "legacy_batchnorm"])
def test_the_predecessors_nets_are_trained_on_cubes_in_angstrom(kept: DataSet, tmp_path: Path, kind: str) -> None:
    plan = {"architecture": kind, "arguments": {"filters": 2}, "steps": 2, "side": None, "margin": None}
    told = trained(kept, tmp_path / "net", **plan)
    assert 0 < told["mae"] < 3  # it began at the median of the training side
    contract = open_bundle(tmp_path / "net").contract
    assert (contract.cube, contract.output) == (16, "Å")
    assert contract.normalisation.startswith("minimum 0")
    with pytest.raises(UsageError, match="sees cubes: got side 24, expected a multiple of 16"):
        trained(kept, tmp_path / "other", **{**plan, "side": 24})


def test_tensorboard_is_told_where_it_is_installed(
    kept: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int]] = []

    class SummaryWriter:
        def __init__(self, folder: Path, purge_step: int) -> None:
            told.append((folder.name, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            told.append((name, step))

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=SummaryWriter))
    trained(kept, tmp_path / "net", steps=4)
    assert told[0] == ("tensorboard", 2)
    assert {("mae", 2), ("loss", 2), ("rate", 4), ("mae", 4)} <= set(told)


# --- kill, and go on

SCRIPT = """
import sys, torch
from pathlib import Path
from emres.archive.manifest import read_dataset
from tests.run.test_train import TrainFiles, trained
torch.set_num_threads(1)
TrainFiles.draw = lambda *_: None
trained(read_dataset(sys.argv[1]), Path(sys.argv[2]), steps=30, evaluate_every=5, checkpoint_every=3)
"""


@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.long)])
def test_a_training_killed_in_the_middle_ends_with_the_curve_of_an_undisturbed_one(
    kept: DataSet, tmp_path: Path, kills: int
) -> None:
    trained(kept, tmp_path / "calm", steps=30, evaluate_every=5, checkpoint_every=3)
    draw, stops = random.Random(5), []
    while len(stops) < kills:
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, kept.folder, tmp_path / "rough"])
        begun = _step(tmp_path / "rough")
        while process.poll() is None and _step(tmp_path / "rough") < begun + draw.choice((3, 6)):
            time.sleep(0.005)
        if process.poll() is not None:
            break
        time.sleep(draw.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
        stops.append(_step(tmp_path / "rough"))
    subprocess.run([sys.executable, "-c", SCRIPT, kept.folder, tmp_path / "rough"], check=True)
    assert stops[0] < 30  # it was in the middle
    assert_same(tmp_path / "rough", tmp_path / "calm")
    assert files(tmp_path / "rough") == files(tmp_path / "calm")


def _step(folder: Path) -> int:
    path = folder / CHECKPOINT
    return int(Checkpoint(path.read_bytes()).record["step"]) if path.is_file() else 0


class Power(BaseException):
    """It went out."""


@pytest.mark.parametrize("when", ["checkpoint", "looked"])
def test_power_cut_while_something_is_written(
    kept: DataSet, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def cut(self: TrainFiles, state: Any) -> None:
        if state.step == 4:
            (self.folder / f".{CHECKPOINT}.1234.part").write_bytes(b"half")
            raise Power
        real(self, state)

    real = getattr(TrainFiles, when)
    with monkeypatch.context() as patched:
        patched.setattr(TrainFiles, when, cut)
        patched.setattr("emres.run.train.remove_leftovers", lambda folder: None)
        with pytest.raises(Power):
            trained(kept, tmp_path / "net")
    assert f".{CHECKPOINT}.1234.part" in files(tmp_path / "net")
    assert trained(kept, tmp_path / "net")["resumed"] == (3 if when == "checkpoint" else 4)
    assert_same(tmp_path / "net", calm)
    assert files(tmp_path / "net") == files(calm) - {"curves.png", "examples.png"}


def test_what_is_done_is_not_done_again(kept: DataSet, calm: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    trained(kept, folder)
    moments: list[Moment] = []
    again = trained(kept, folder, moments.append, name="renamed")
    assert (again["resumed"], again["model"], moments) == (6, "renamed@1", [])
    trained(kept, folder)
    assert_same(folder, calm)
    (folder / CHECKPOINT).unlink()
    with pytest.raises(UsageError, match=r"there is a model in .*net, and no checkpoint"):
        trained(kept, folder)
    assert trained(kept, folder, restart=True)["resumed"] == 0
    assert_same(folder, calm)


@pytest.mark.parametrize("how", [{"threads": 2}, pytest.param({"workers": 2}, marks=pytest.mark.long)])
def test_threads_and_workers_change_nothing(kept: DataSet, calm: Path, tmp_path: Path, how: dict[str, int]) -> None:
    trained(kept, tmp_path / "net", **how)
    assert_same(tmp_path / "net", calm)


def cut_short(dataset: DataSet, folder: Path, when: Callable[[Any], bool], *, kept_first: bool) -> None:
    """Train a conditioned net until the power goes out, as a checkpoint is written or just after."""

    def cut(self: TrainFiles, state: Any) -> None:
        if kept_first:
            real(self, state)
        if when(state):
            raise Power
        real(self, state)

    real = TrainFiles.checkpoint
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TrainFiles, "checkpoint", cut)
        with pytest.raises(Power):
            trained(dataset, folder, **CONDITIONED)


@pytest.mark.parametrize("step", [0, 2])
def test_a_conditioned_net_goes_on_with_the_level_that_it_learnt_first(
    kept: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    trained(kept, tmp_path / "calm", **CONDITIONED)
    cut_short(kept, tmp_path / "net", lambda state: state.step == step, kept_first=True)
    monkeypatch.setattr("emres.run.train_readers.learn_readers", None)  # it is not learnt again
    assert trained(kept, tmp_path / "net", **CONDITIONED)["resumed"] == step
    assert_same(tmp_path / "net", tmp_path / "calm")


def test_what_readers_learn_last_is_learnt_once(kept: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before it is kept, it is learnt again and the same; kept, it is not learnt again."""
    trained(kept, tmp_path / "calm", **CONDITIONED)
    cut_short(kept, tmp_path / "net", lambda state: state.complete, kept_first=False)
    assert not (tmp_path / "net" / "contract.json").exists()
    for again in (False, True):
        if again:
            monkeypatch.setattr("emres.run.train_readers.learn_from_all", None)
        assert trained(kept, tmp_path / "net", **CONDITIONED)["resumed"] == 3
        assert_same(tmp_path / "net", tmp_path / "calm")


# --- several processes


def test_two_processes_train_as_one_within_rounding(kept: DataSet, calm: Path, tmp_path: Path) -> None:
    trained(kept, tmp_path / "net", processes=2)
    one, two = history(calm), history(tmp_path / "net")
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=1e-5)
    for first, second in zip(one["looks"], two["looks"], strict=True):
        assert second == pytest.approx(first, rel=1e-5)
    expected, found = (open_bundle(folder).net.state_dict() for folder in (calm, tmp_path / "net"))
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-5)


def test_two_processes_learn_the_same_level_and_then_share_a_conditioned_net(kept: DataSet, tmp_path: Path) -> None:
    """Each draws what it drops: the same level to the last bit, the same curve only about."""
    trained(kept, tmp_path / "one", **CONDITIONED)
    trained(kept, tmp_path / "two", processes=2, **CONDITIONED)
    one, two = (open_bundle(tmp_path / name).net.film.level.state_dict() for name in ("one", "two"))
    assert all(torch.equal(two[key], value) for key, value in one.items())
    np.testing.assert_allclose(history(tmp_path / "two")["loss"], history(tmp_path / "one")["loss"], rtol=0.5)


def test_processes_that_cannot_share_a_batch_are_told(kept: DataSet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="got 2 parts, 3 processes"):
        trained(kept, tmp_path / "net", processes=3)


# --- what is refused, and what it leaves


def test_a_changed_plan_is_refused_by_name(kept: DataSet, calm: Path) -> None:
    before = {name: (calm / name).read_bytes() for name in files(calm)}
    with pytest.raises(UsageError, match=r"other settings: got steps 6, not 7; seed 0, not 3; train into another"):
        trained(kept, calm, steps=7, seed=3)
    assert {name: (calm / name).read_bytes() for name in files(calm)} == before


def test_it_is_refused_before_any_map_is_read(kept: DataSet, calm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emres.run.train_processes.read_ahead", None)
    with pytest.raises(UsageError, match=r"other settings: got voxel_size 1.5, not 1.6"):
        trained(kept, calm, voxel_size=1.6)


def test_a_data_set_that_changed_is_refused(tmp_path: Path) -> None:
    dataset = toy_dataset(tmp_path / "set", 2)
    trained(dataset, tmp_path / "net", steps=1)
    write_dataset(replace(dataset, rows=dataset.rows[1:]))
    with pytest.raises(UsageError, match=r"the data set has changed since .*got 2 rows.*expected 3 rows"):
        trained(dataset, tmp_path / "net", steps=1)
    write_dataset(dataset)
    assert trained(dataset, tmp_path / "net", steps=1)["resumed"] == 1
    group = Store(dataset.folder / "store").entry("e1")
    told = json.loads((group.path / "map/zarr.json").read_text())
    told["attributes"]["emres"]["source"] = {"name": "another"}
    (group.path / "map/zarr.json").write_text(json.dumps(told))
    with pytest.raises(UsageError, match="the data set has changed"):
        trained(dataset, tmp_path / "net", steps=1)


def test_a_damaged_checkpoint_is_refused_and_stays(kept: DataSet, calm: Path, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes((calm / CHECKPOINT).read_bytes()[:-100])
    with pytest.raises(IntegrityError, match=r"checkpoint.safetensors is damaged"):
        trained(kept, tmp_path)
    assert files(tmp_path) == {CHECKPOINT}


def test_a_training_that_goes_astray_stops_and_keeps_the_last_good_checkpoint(kept: DataSet, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"went astray.*at step .*the last checkpoint stays"):
        trained(kept, tmp_path / "net", learning_rate=1e37, warm_up=0.9, schedule="cosine")
    held = Checkpoint((tmp_path / "net" / CHECKPOINT).read_bytes())
    assert all(bool(value.isfinite().all()) for value in held.parts["net"].values())
    assert "contract.json" not in files(tmp_path / "net")


def test_a_net_that_gets_no_better_stops_early(kept: DataSet, tmp_path: Path) -> None:
    told = trained(kept, tmp_path / "net", steps=40, learning_rate=1e-12, averaging=0.0, evaluate_every=1, patience=3)
    assert told["stopped_early"]
    assert told["steps"] < 40
    assert history(tmp_path / "net")["stopped_early"]
    assert trained(
        kept, tmp_path / "net", steps=40, learning_rate=1e-12, averaging=0.0, evaluate_every=1, patience=3
    )["resumed"] == told["steps"]  # fmt: skip


def test_one_entry_without_a_validation_side_trains_with_a_warning(tmp_path: Path) -> None:
    dataset = toy_dataset(tmp_path / "set", 1)
    write_dataset(replace(dataset, rows=dataset.rows[:1]))
    told = trained(dataset, tmp_path / "net", steps=2)
    assert told["mae"] is None
    assert told["warnings"] == ["the validation side is empty: nothing tells how good the model is"]
    assert "not measured" in (tmp_path / "net/card.md").read_text()
    write_dataset(replace(dataset, rows=dataset.rows[1:]))
    with pytest.raises(UsageError, match=r"the train side of .* is empty"):
        trained(dataset, tmp_path / "other")
    assert files(tmp_path / "other") == set()


def test_more_patches_than_there_are_is_told(kept: DataSet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not as many different patches"):
        trained(kept, tmp_path / "net", epoch_steps=10**6)


def test_two_trainings_do_not_share_a_folder(kept: DataSet, tmp_path: Path) -> None:
    with only_writer(tmp_path / CHECKPOINT), pytest.raises(StoreError, match="being written by another run"):
        trained(kept, tmp_path)


def test_a_folder_that_cannot_be_is_told_before_anything_is_learnt(kept: DataSet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    moments: list[Moment] = []
    with pytest.raises(EmresError, match="cannot be written"):
        trained(kept, tmp_path / "file/net", moments.append)
    assert moments == []


def test_an_unknown_device_is_told(kept: DataSet, tmp_path: Path) -> None:
    for device in ("tpu", "cuda:99", "meta"):
        with pytest.raises(UsageError):
            train_model(replace(training(kept, tmp_path / "net"), device=device))
