"""The model under test answers as ``emres predict`` and ``emres.predict`` do: what is measured is what ships."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from emres.archive.store import EntryGroup, open_volume
from emres.errors import IntegrityError, UsageError
from emres.model.bundle import build_net, save_bundle
from emres.model.contract import WITH_SPREAD
from emres.run.evaluate_model import ModelUnderTest
from emres.run.lazy import predict
from emres.run.predict import predict_entry, predict_job
from emres.volume.grid import make_volume
from tests.model.conftest import ARGUMENTS, contract
from tests.run.conftest import GRID


@pytest.fixture(scope="module")
def told_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net that is told of the map and says how sure it is, with weights that let both be seen."""
    torch.manual_seed(5)
    net = build_net("conditioned_unet", ARGUMENTS)
    with torch.no_grad():
        net.film.films.weight.normal_(std=0.1)
    folder = tmp_path_factory.mktemp("models") / "told"
    about = contract(name="told", version="1", architecture="conditioned_unet", output=WITH_SPREAD, halo=28)
    save_bundle(folder, net, about, "# told\n")
    return folder


@pytest.mark.parametrize("model", ["toy_model", "told_model"])
def test_it_answers_as_the_store_and_the_notebook_do(
    entry: EntryGroup, model: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(model)
    under_test = ModelUnderTest.named(folder, "cpu")
    volume = open_volume(entry.path)
    answer = under_test(volume, None, "auto")
    told = predict_entry(predict_job(entry.path, str(folder), device="cpu"))
    stored = open_volume(entry.path, f"local_resolution/{told['model']}").values
    np.testing.assert_allclose(answer.resolution, stored, rtol=1e-5)
    np.testing.assert_allclose(answer.resolution, predict(volume, folder, device="cpu").values, rtol=1e-4)
    assert (answer.sigma is None) == (model == "toy_model")
    assert list(answer.warnings) == list(told.get("warnings", ()))
    if answer.sigma is not None:
        np.testing.assert_allclose(
            answer.sigma, open_volume(entry.path, f"uncertainty/{told['model']}").values, rtol=1e-5
        )


def test_what_is_reported_reaches_the_net_that_can_be_told(entry: EntryGroup, toy_model, told_model: Path) -> None:
    volume = open_volume(entry.path)
    telling = ModelUnderTest.named(told_model, "cpu")
    assert telling.can_be_told
    assert not (telling(volume, 3.0, "auto").resolution == telling(volume, 9.0, "auto").resolution).all()
    deaf = ModelUnderTest.named(toy_model, "cpu")
    assert not deaf.can_be_told
    assert (deaf(volume, 3.0, "auto").resolution == deaf(volume, None, "auto").resolution).all()


def test_what_a_user_would_be_warned_of_is_in_the_answer(entry: EntryGroup, told_model: Path) -> None:
    answer = ModelUnderTest.named(told_model, "cpu")(open_volume(entry.path), 0.5, "auto")
    assert any("times the reported 0.5 Å" in sentence for sentence in answer.warnings)


def test_a_mask_may_be_a_volume(entry: EntryGroup, toy_model: Path) -> None:
    inside = np.zeros(GRID.shape, dtype=np.float32)
    inside[30:40, 20:40, 20:40] = 1
    answer = ModelUnderTest.named(toy_model, "cpu")(open_volume(entry.path), None, make_volume(inside, GRID))
    assert ((answer.resolution > 0) == (inside > 0)).all()


def test_a_model_that_is_not_there_or_broken_is_told_at_once(toy_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        ModelUnderTest.named("no-such-model")
    broken = shutil.copytree(toy_model, tmp_path / "broken")
    (broken / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(IntegrityError):
        ModelUnderTest.named(broken)
