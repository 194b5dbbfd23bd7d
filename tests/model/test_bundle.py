"""A bundle states what it needs, and proves itself when it is opened."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from emres.archive.registry import find_model
from emres.errors import IntegrityError, ModelError
from emres.model.bundle import WEIGHTS_FILE, build_net, open_bundle, save_bundle, self_test_input
from emres.model.contract import CONTRACT_FILE, Contract, read_contract

from .conftest import contract, lively_net


@pytest.fixture
def copy(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "copy"))


@pytest.fixture
def edit(copy: Path) -> Callable[..., Path]:
    """Change fields of the contract on disk."""

    def change(**fields: Any) -> Path:
        path = copy / CONTRACT_FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))
        return copy

    return change


def test_a_bundle_survives_the_disk(bundle_folder: Path, net: torch.nn.Module) -> None:
    bundle = open_bundle(bundle_folder)
    assert bundle.name_version == "tiny@1"
    assert not bundle.net.training
    with torch.inference_mode():
        torch.testing.assert_close(bundle.net(self_test_input()), net(self_test_input()))


def test_contract_survives_json() -> None:
    original = contract(training={"seed": 3, "split": {"test": ["5"]}}, weights_sha256="0" * 64)
    assert Contract.from_json(original.to_json()) == original


def test_contract_from_a_later_minor_edition_may_hold_more(edit: Callable[..., Path]) -> None:
    assert read_contract(edit(colour="blue")).name == "tiny"


def test_saving_leaves_only_the_three_files(bundle_folder: Path) -> None:
    assert {path.name for path in bundle_folder.iterdir()} == {CONTRACT_FILE, WEIGHTS_FILE, "card.md"}


def test_other_weights_than_stated_are_refused(copy: Path) -> None:
    content = bytearray((copy / WEIGHTS_FILE).read_bytes())
    content[-1] ^= 1
    (copy / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(IntegrityError, match="sha256"):
        open_bundle(copy)


def test_weights_of_another_size_are_refused(copy: Path) -> None:
    other = save_bundle(copy, lively_net({"channels": 8, "deep_channels": 16, "deep_layers": 3}), contract(), "")
    assert other.arguments["deep_channels"] == 12
    with pytest.raises(ModelError, match="does not fit"):
        open_bundle(copy)


def test_a_machine_that_computes_something_else_is_noticed(edit: Callable[..., Path], copy: Path) -> None:
    stated = read_contract(copy).self_test
    with pytest.raises(IntegrityError, match="self-test"):
        open_bundle(edit(self_test=stated | {"mean": stated["mean"] + 0.01}))


def test_no_self_test_is_no_proof(edit: Callable[..., Path]) -> None:
    with pytest.raises(IntegrityError, match="self-test"):
        open_bundle(edit(self_test={}))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"format_version": 99}, "newer emres.*upgrade emres"),
        ({"architecture": "os.system"}, "unknown architecture"),
        ({"arguments": {"colour": 1}}, "cannot be built"),
        ({"arguments": {"channels": -3}}, "cannot be built"),
        ({"halo": 20}, "cut blocks wrongly.*at least 23"),
        ({"halo": 25}, "contradicts itself"),
        ({"voxel_size": 0}, "contradicts itself"),
        ({"valid_range": [5, 2]}, "contradicts itself"),
        ({"valid_range": 7}, "lacks a field or has a wrong one"),
        ({"name": "../../evil"}, "unusable name"),
    ],
)
def test_a_bad_contract_gets_a_sentence(edit: Callable[..., Path], fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        open_bundle(edit(**fields))


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", "null"])
def test_something_else_is_no_contract(copy: Path, text: str) -> None:
    (copy / CONTRACT_FILE).write_text(text)
    with pytest.raises(ModelError, match="not a model contract"):
        open_bundle(copy)


def test_an_empty_folder_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not a model bundle: got no contract\.json"):
        open_bundle(tmp_path)


def test_missing_weights_are_named(copy: Path) -> None:
    (copy / WEIGHTS_FILE).unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        open_bundle(copy)


@pytest.mark.parametrize(
    ("voxel_size", "working"), [(0.4, 1.5), (1.5, 1.5), (2.64, 1.5), (2.8, 3.0), (5.7, 6.0), (16.4, 6.0)]
)
def test_working_grid_loses_no_frequencies(voxel_size: float, working: float) -> None:
    assert contract(octaves=2).working_voxel_size(voxel_size) == working
    assert working <= max(1.5, 1.1 * voxel_size)


def test_architectures_come_from_the_table_only() -> None:
    with pytest.raises(ModelError, match="expected compact_unet"):
        build_net("Linear", {})


def test_shown_in_a_notebook(bundle_folder: Path) -> None:
    shown = open_bundle(bundle_folder)._repr_html_()
    assert "tiny@1" in shown
    assert "<table>" in shown


def test_self_test_input_is_the_same_everywhere() -> None:
    values = self_test_input().numpy()
    assert values.shape == (1, 1, 24, 24, 32)
    assert float(np.abs(values).sum()) == pytest.approx(2064.6, rel=1)


def test_a_bundle_of_before_stripped_maps_had_readers_proves_itself_and_reads_them_as_usual(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(find_model(), tmp_path / "older"))
    weights = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    older = {name: values for name, values in weights.items() if not name.startswith("film.stripped.")}
    safetensors.torch.save_file(
        {**older, "film.surety": weights["film.surety"][:3].contiguous()}, folder / WEIGHTS_FILE
    )
    digest = hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
    stated = json.loads((folder / CONTRACT_FILE).read_text())
    (folder / CONTRACT_FILE).write_text(json.dumps({**stated, "weights_sha256": digest}))
    film: Any = open_bundle(folder).net.film
    for usual, stripped in ((film.level, film.stripped.level), (film.places, film.stripped.places)):
        found = stripped.state_dict()
        assert all(torch.equal(values, found[name]) for name, values in usual.state_dict().items())
