"""What one block gets from one net."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emres.archive.registry import find_model
from emres.errors import ModelError, UsageError
from emres.model import inference
from emres.model.bundle import open_bundle, save_bundle
from emres.model.condition import condition_of
from emres.model.inference import make_predictor
from emres.volume.blocks import Box, plan_blocks
from emres.volume.boxes import cover_mask
from emres.volume.spectrum import SHELLS, Spectra


@pytest.fixture(scope="session")
def mask() -> np.ndarray:
    """A bent molecule: two arms, so that several boxes are cheaper than one."""
    inside = np.zeros((90, 75, 81), dtype=bool)
    inside[4:80, 6:16, 8:20] = True
    inside[70:80, 6:70, 8:20] = True
    inside[70:80, 60:70, 8:81] = True
    return inside


def test_answers_inside_the_mask_and_zero_outside(bundle_folder: Path, density: np.ndarray, mask: np.ndarray) -> None:
    resolution = make_predictor(bundle_folder)(density, mask)
    assert resolution.shape == density.shape
    assert resolution.dtype == np.float32
    assert (resolution[mask] > 0).all()
    assert (resolution[~mask] == 0).all()


def test_answer_does_not_depend_on_the_boxes(bundle_folder: Path, density: np.ndarray, mask: np.ndarray) -> None:
    predictor = make_predictor(bundle_folder)
    whole = predictor(density, np.ones_like(mask))
    few = predictor(density, mask)
    small = replace(predictor, memory_bytes=200 * 75_000 * 2)
    many = small(density, mask)
    counts = [len(cover_mask(mask, multiple=4, halo=24, largest=n)) for n in (None, 150_000)]
    assert counts[1] > counts[0]
    np.testing.assert_allclose(few[mask], whole[mask], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(many[mask], whole[mask], rtol=1e-5, atol=1e-5)


def test_blockwise_equals_whole(bundle_folder: Path, density: np.ndarray, mask: np.ndarray) -> None:
    predictor = make_predictor(bundle_folder)
    whole = predictor(density, mask)
    parts = np.zeros_like(whole)
    for block in plan_blocks(density.shape, core=40, halo=24, multiple=4):
        parts[block.write.slices] = predictor(density[block.read.slices], mask[block.read.slices])[block.core.slices]
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-5)


def test_an_empty_block_opens_no_net(density: np.ndarray, tmp_path: Path, bundle_folder: Path) -> None:
    nowhere = replace(make_predictor(bundle_folder), folder=str(tmp_path / "nowhere"))
    assert not nowhere(density, np.zeros(density.shape, dtype=bool)).any()
    with pytest.raises(ModelError):
        nowhere(density, np.ones(density.shape, dtype=bool))


def test_the_net_is_opened_once(
    bundle_folder: Path, density: np.ndarray, mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = make_predictor(bundle_folder)
    small_density, small_mask = density[:32, :32, :32], mask[:32, :32, :32]
    first = predictor(small_density, small_mask)
    monkeypatch.setattr(inference, "open_bundle", lambda folder: pytest.fail("opened again"))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(predictor))(small_density, small_mask), first)


def test_what_travels_is_small(bundle_folder: Path) -> None:
    assert len(pickle.dumps(make_predictor(bundle_folder))) < 1000


def test_answer_scales_with_the_working_grid(bundle_folder: Path, density: np.ndarray, mask: np.ndarray) -> None:
    fine = make_predictor(bundle_folder)(density, mask)
    coarse = make_predictor(bundle_folder, working_voxel_size=6.0)(density, mask)
    np.testing.assert_allclose(coarse, 4 * fine, rtol=1e-6)


def test_weights_that_changed_after_planning_are_refused(bundle_folder: Path, density: np.ndarray) -> None:
    planned = replace(make_predictor(bundle_folder), weights_sha256="0" * 64)
    with pytest.raises(ModelError, match="changed since the run was planned"):
        planned(density, np.ones(density.shape, dtype=bool))


def test_too_little_memory_gets_a_sentence(bundle_folder: Path, density: np.ndarray, mask: np.ndarray) -> None:
    with pytest.raises(UsageError, match="memory does not hold the smallest box"):
        make_predictor(bundle_folder, memory_bytes=1_000_000)(density, mask)


def test_density_and_mask_of_two_shapes_are_refused(bundle_folder: Path, density: np.ndarray) -> None:
    with pytest.raises(UsageError, match="not one block"):
        make_predictor(bundle_folder)(density, np.ones((4, 4, 4), dtype=bool))


def test_a_volume_smaller_than_the_multiple_has_an_answer(bundle_folder: Path) -> None:
    tiny = np.ones((1, 2, 3), dtype=np.float32)
    resolution = make_predictor(bundle_folder)(tiny, tiny > 0)
    assert resolution[Box((0, 0, 0), (1, 2, 3)).slices].min() > 0


@pytest.fixture
def adding(tmp_path: Path) -> Path:
    """The bundle that ships, with a net that adds a tenth of its logarithm of the spread to the answer."""
    shipped = open_bundle(find_model())
    net: Any = shipped.net
    with torch.no_grad():
        net.head.weight[0] = net.head.weight[1] / 10
    save_bundle(tmp_path / "adding", net, shipped.contract, "A test's.")
    return tmp_path / "adding"


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_fewer_digits_change_the_answer_within_what_is_stated(precision: str, adding: Path) -> None:
    density = np.random.default_rng(4).normal(size=(32, 32, 32)).astype(np.float32)
    told = np.append(condition_of(Spectra(1.0, (1.0,) * SHELLS), reported=5.0), 1.6)
    predictor = make_predictor(adding).told(told)
    exact, fewer = (each(density, density < 9) for each in (predictor, replace(predictor, precision=precision)))
    for name in ("resolution", "spread"):
        off = np.abs(fewer[name] / exact[name] - 1)
        assert off.any(), "nothing was computed in fewer digits"
        assert np.quantile(off, 0.99) <= inference.HALF_TOLERANCE, name


def test_the_memory_of_a_gpu_says_how_large_a_box_is(monkeypatch: pytest.MonkeyPatch) -> None:
    card = type("Card", (), {"total_memory": 8 << 30})
    monkeypatch.setattr(inference.torch.cuda, "get_device_properties", lambda device: card)
    assert inference._memory_of("cpu", 5) == 5
    assert 2 << 30 < inference._memory_of("cuda:1", 5) < 8 << 30
