"""Examples show target and prediction in the same colours, where there is a target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emres.errors import UsageError
from emres.view import example_patches
from emres.view.example_patches import example_picture


@pytest.fixture
def cubes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    density = rng.normal(size=(2, 6, 5, 7)).astype(np.float32)
    target = np.zeros_like(density)
    target[:, 2, 1:4, 2:6] = np.linspace(3, 5, 4)
    return density, target, target + 0.5


def test_prediction_is_drawn_beside_its_target(cubes, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(example_patches, "save_png", lambda figure, path: figures.append(figure))
    example_picture(*cubes, "x.png", title="step 3")
    panels = figures[0].axes[:8]
    assert [axes.get_title() for axes in panels[:3]] == ["density", "target", "prediction"]
    density, target, prediction, off = (axes.images[0].get_array() for axes in panels[:4])
    np.testing.assert_array_equal(density, cubes[0][0, 2])  # the plane that holds most of the target
    inside = cubes[1][0, 2] > 0
    assert (target[~inside] == 1).all()  # white
    assert (prediction[~inside] == 1).all()
    assert not np.array_equal(target[inside], prediction[inside])
    np.testing.assert_allclose(off[inside], 0.5, rtol=1e-5)
    assert off.mask[~inside].all()


def test_a_flat_density_is_drawn_too(cubes, tmp_path: Path) -> None:
    path = example_picture(np.zeros_like(cubes[0]), cubes[1], cubes[1], tmp_path / "x.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_what_is_no_patch_is_told(cubes) -> None:
    with pytest.raises(UsageError, match="no patches to draw"):
        example_picture(cubes[0], cubes[1], cubes[2][:1], "x.png")
    with pytest.raises(UsageError, match="no patches to draw"):
        example_picture(cubes[0], 0 * cubes[1], cubes[2], "x.png")
