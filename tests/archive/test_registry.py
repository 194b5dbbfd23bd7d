"""Model names and folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from emres.archive.registry import DEFAULT_MODEL, embedded_models, find_model
from emres.errors import UsageError
from emres.model.bundle import open_bundle


def test_every_embedded_model_opens() -> None:
    assert DEFAULT_MODEL in embedded_models()
    for name in embedded_models():
        assert open_bundle(find_model(name)).contract.name == name


def test_shipped_weights_are_small_and_have_a_card() -> None:
    for name in embedded_models():
        folder = find_model(name)
        assert sum(path.stat().st_size for path in folder.iterdir()) < 5_000_000
        assert len((folder / "card.md").read_text(encoding="utf-8")) > 50


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert find_model(tmp_path) == tmp_path
    assert find_model(str(tmp_path)) == tmp_path


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"unknown model: got emres-huge, expected emres-small"):
        find_model("emres-huge")
