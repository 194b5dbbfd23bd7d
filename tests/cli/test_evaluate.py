"""``emres evaluate``, as a user types it: a real net through the real prediction path, at toy size."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emres.archive.manifest import DataSet, write_dataset
from emres.archive.store import Store
from emres.volume.grid import Grid
from tests.archive.volumes import written
from tests.cli.conftest import Ended
from tests.run.toy_dataset import add_entry

SMALL = Grid((30, 32, 34), (1.9, 1.9, 1.9))


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are drawn in tests/run/test_evaluate.py."""
    monkeypatch.setattr("emres.run.evaluate_report._pictures", lambda *_: {})


@pytest.fixture(scope="module")
def written_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "set"
    store = Store(folder / "store")
    rows = [
        add_entry(store, name, grid=SMALL, resolution=5.0, halves=name == "a", split=split)
        for name, split in (("a", "test"), ("b", "test"), ("t", "train"))
    ]
    write_dataset(DataSet(folder, tuple(replace(row, reported=4.5) for row in rows)))
    return folder


@pytest.fixture
def dataset(written_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written_once, tmp_path / "set"))


def test_a_table_a_report_and_a_card(
    emres: Callable[..., Ended], dataset: Path, toy_model: Path, tmp_path: Path
) -> None:
    out, card = tmp_path / "out", tmp_path / "cards/card.md"
    ended = emres("evaluate", toy_model, "--dataset", dataset, "--to", out, "--few", "1", "--card", card)
    assert ended.code == 0, ended.err
    assert "Maps as deposited, 2 maps" in ended.out
    assert "own median" in ended.out
    assert sorted(path.name for path in out.iterdir()) == ["evaluation.json", "evaluation.md", "maps", "robustness"]
    assert "turned by 90°" in (out / "evaluation.md").read_text(encoding="utf-8")
    assert card.read_text(encoding="utf-8").startswith("# toy@1")
    again = emres("evaluate", toy_model, "--dataset", dataset, "--to", out, "--few", "0", "--json").json
    assert again["densities"]["average"]["maps"] == 1
    assert again["dataset"]["training_median"] == 5.0
    mine = emres("evaluate", toy_model, "--dataset", dataset, "--to", out, "--few", "0", "--mask", "target", "--quiet")
    assert (mine.code, mine.out) == (0, "")


def test_a_map_that_fails_is_told_by_the_exit_code(emres, dataset: Path, toy_model: Path, tmp_path: Path) -> None:
    group = Store(dataset / "store").entry("b")
    written(group, "map", np.zeros(SMALL.shape, dtype=np.float32), SMALL)
    ended = emres("evaluate", toy_model, "--dataset", dataset, "--to", tmp_path / "out", "--few", "0")
    assert ended.code == 3
    assert "failed: b (map): " in ended.err
    assert "Plain averages of the half maps, 1 maps" in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--dataset"),
        (("--dataset", "SET", "--split", "validation"), "is empty"),
        (("--dataset", "SET", "--target", "monores"), "no such target"),
        (("--dataset", "nowhere"), "is not a data set"),
        (("--real", "nowhere"), "no table of maps"),
        (("--dataset", "SET", "--device", "abacus"), "unknown device"),
    ],
)
def test_what_cannot_work_is_told_at_once(
    emres, dataset: Path, toy_model: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    typed = [str(dataset) if word == "SET" else word for word in arguments]
    ended = emres("evaluate", toy_model, *typed, "--to", tmp_path / "out")
    assert ended.code in (1, 2)
    assert said in ended.err
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_there(emres, dataset: Path) -> None:
    assert emres("evaluate", "no-such-model", "--dataset", dataset).code == 2
