"""Patches are cut where the molecule is, turned properly, and survive the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from emres.model.patches import (
    ROTATIONS,
    Example,
    PatchPlan,
    draw_batch,
    draw_patch,
    read_example,
    rotated,
    write_example,
)


@pytest.fixture
def example() -> Example:
    """Every voxel's density is 1 + 100 times its log target: patches can be checked against themselves."""
    rng = np.random.default_rng(0)
    target = rng.uniform(0.7, 2.0, size=(30, 26, 34)).astype(np.float16)
    weight = np.zeros(target.shape, dtype=bool)
    weight[8:20, 6:20, 10:24] = True
    densities = np.stack([target, 2 * target]).astype(np.float16)
    return Example("made-1", "7", 3.0, densities, target, weight)


def test_density_target_and_weight_stay_together(example: Example) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        density, target, weight = draw_patch(example, PatchPlan(side=16, margin=2, gain=0.2), rng)
        ratio = density[target > 0] / target[target > 0]
        assert ratio.min() == pytest.approx(ratio.max(), rel=1e-3)
        assert density.shape == target.shape == weight.shape == (16, 16, 16)
        assert set(np.unique(weight)) <= {0.0, 1.0}


def test_the_margin_never_counts(example: Example) -> None:
    rng = np.random.default_rng(2)
    total = sum(draw_patch(example, PatchPlan(side=16, margin=5), rng)[2] for _ in range(30))
    assert total[5:-5, 5:-5, 5:-5].min() > 0
    total[5:-5, 5:-5, 5:-5] = 0
    assert total.max() == 0


def test_every_patch_holds_some_molecule(example: Example) -> None:
    rng = np.random.default_rng(3)
    assert all(draw_patch(example, PatchPlan(side=16, margin=2), rng)[2].any() for _ in range(40))


def test_batches_repeat_with_their_seed(example: Example) -> None:
    first, again = (draw_batch([example], 3, PatchPlan(side=16), np.random.default_rng(4)) for _ in range(2))
    for one, two in zip(first, again, strict=True):
        assert one.shape == (3, 1, 16, 16, 16)
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_there_are_24_rotations_and_no_mirror_image() -> None:
    corner = np.zeros((3, 3, 3))
    corner[0, 0, 0], corner[0, 0, 1], corner[0, 1, 0] = (
        1,
        2,
        3,
    )  # a chiral corner: its mirror image is no rotation of it
    corner[1, 0, 0] = 4
    turned = {rotated(corner, turn).tobytes() for turn in range(len(ROTATIONS))}
    assert len(ROTATIONS) == len(turned) == 24
    assert corner[::-1].tobytes() not in turned
    assert corner.transpose(1, 0, 2).tobytes() not in turned


def test_an_example_survives_the_disk(example: Example, tmp_path: Path) -> None:
    write_example(tmp_path / "example.npz", example)
    again = read_example(tmp_path / "example.npz")
    assert (again.name, again.family, again.voxel_size) == (example.name, example.family, example.voxel_size)
    for name in ("densities", "target", "weight"):
        np.testing.assert_array_equal(getattr(again, name), getattr(example, name))
    assert [path.name for path in tmp_path.iterdir()] == ["example.npz"]
