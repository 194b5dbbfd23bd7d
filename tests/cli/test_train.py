"""``emres train``, as a user types it: from a file or from options, refused by name, on a full disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from emres.archive.manifest import DataSet
from emres.run.train_files import CHECKPOINT, TrainFiles
from tests.cli.conftest import Ended
from tests.cli.test_disks import disk as disk
from tests.run.toy_dataset import toy_dataset

TINY = """
architecture = "compact_unet"
steps = 4
batch = 4
side = 12
margin = 1
voxel_size = 1.5
epoch_steps = 4
evaluate_every = 2
validation_patches = 4
checkpoint_every = 1
threads = 0
[arguments]
channels = 4
deep_channels = 4
deep_layers = 1
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return toy_dataset(tmp_path_factory.mktemp("here") / "set", 1)


@pytest.fixture
def config(kept: DataSet) -> Path:
    """A file beside the data set, which it names by where it is itself."""
    path = kept.folder.parent / "tiny.toml"
    path.write_text('dataset = "set"\n' + TINY)
    return path


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainFiles, "draw", lambda *_: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_a_file_or_options_make_the_same_model(
    emres: Callable[..., Ended], kept: DataSet, config: Path, tmp_path: Path
) -> None:
    one = emres("train", config, "--to", tmp_path / "one")
    assert one.code == 0, one.err
    assert "step 2 of 4: loss " in one.out
    assert "one@1, 4 steps, error " in one.out
    net = [f"--set=arguments.{line}" for line in ("channels=4", "deep_channels=4", "deep_layers=1")]
    plan = [f"--set={line}" for line in TINY.partition("[")[0].strip().splitlines() if "threads" not in line]
    two = emres("train", "--dataset", kept.folder, "--to", tmp_path / "two", "--threads", 0, *plan, *net, "--json")
    assert two.code == 0, two.err
    assert (two.json["steps"], two.json["resumed"], two.json["warnings"]) == (4, 0, [])
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]
    assert emres("train", config, "--to", tmp_path / "one", "--json").json["resumed"] == 4
    assert emres("models", "verify", tmp_path / "one").code == 0


@pytest.mark.parametrize(
    ("lines", "options", "words"),
    [
        ("lerning_rate = 1.0", [], "tiny.toml has an unknown setting: got lerning_rate; did you mean learning_rate?"),
        ("steps = 'many'", [], "a wrong steps: got 'many', expected a whole number"),
        ("threads = 'two'", [], "a wrong threads: got 'two'"),
        ("steps = = 3", [], "tiny.toml is no TOML"),
        ("", ["--set", "stepz=3"], "the call has an unknown setting: got stepz; did you mean steps?"),
        ("", ["--set", "steps"], "--set takes NAME=VALUE: got steps"),
        ("", ["--architecture", "resnet"], "unknown architecture: got resnet"),
        ("", ["--processes", "3"], "got 4 parts, 3 processes"),
        ("", ["--set", "arguments.filters=3"], "cannot be built from"),
        ("", ["--set", "name=a b"], "unusable name"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(
    emres, config: Path, tmp_path: Path, lines: str, options: list[str], words: str
) -> None:
    config.write_text(f'{lines}\ndataset = "set"\n' + (TINY if not lines.startswith(("steps", "threads")) else ""))
    ended = emres("train", config, "--to", tmp_path / "net", *options)
    assert ended.code in (1, 2)
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert not list((tmp_path / "net").glob("*")) if (tmp_path / "net").exists() else True


def test_what_is_missing_is_told(emres, config: Path, tmp_path: Path) -> None:
    assert "there is no to to train with: " not in emres("train", config).err
    assert "give --to" in emres("train", config).err
    assert "give --dataset" in emres("train", "--to", tmp_path / "net").err
    assert "cannot be read" in emres("train", tmp_path / "no.toml", "--to", tmp_path / "net").err
    ended = emres("train", "--dataset", tmp_path, "--to", tmp_path / "net")
    assert "is not a data set: expected dataset.json; make one: emres dataset build" in ended.err


def test_a_full_disk_is_told_and_the_same_command_goes_on(emres, disk, config: Path) -> None:
    to = disk("size=120k") / "net"
    ended = emres("train", config, "--to", to)
    assert ended.code == 1
    assert "the disk is full; free some space and run the same command again" in ended.err
    assert [path.name for path in to.iterdir()] == [CHECKPOINT]
    disk("size=10m")
    again = emres("train", config, "--to", to, "--json")
    assert again.code == 0
    assert again.json["resumed"] >= 0


@pytest.mark.long
@pytest.mark.parametrize("how", ["torchrun", "dask"])
def test_torchrun_and_dask_train_as_one_process(emres, config: Path, tmp_path: Path, how: str) -> None:
    assert emres("train", config, "--to", tmp_path / "one").code == 0
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "emres", "train")
    start = torchrun if how == "torchrun" else ("-m", "emres", "train", "--cluster", "local:2")
    command = [sys.executable, *start, str(config), "--to", str(tmp_path / "two")]
    ended = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("two@1, 4 steps") == 1
    assert "step 4 of 4: loss " in ended.stdout
    losses = [json.loads((tmp_path / name / "history.json").read_text())["loss"] for name in ("one", "two")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
