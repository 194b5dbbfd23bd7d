from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from emres.errors import UsageError
from emres.view.fsc_plot import fsc_picture

FREQUENCY = np.linspace(0, 0.25, 40)


def curve(middle: float) -> np.ndarray:
    return 1 / (1 + np.exp((FREQUENCY - middle) * 60))


def test_curves_are_drawn_and_differ_when_they_do(tmp_path: Path) -> None:
    pictures = []
    for middle in (0.1, 0.15):
        path = tmp_path / f"{middle}.png"
        fsc_picture(FREQUENCY, {"unmasked": curve(middle)}, path, crossings={0.5: 1 / middle})
        pictures.append(imread(path))
    assert pictures[0].shape == pictures[1].shape
    assert min(pictures[0].shape[:2]) >= 600
    assert 0.001 < (pictures[0] != pictures[1]).any(axis=2).mean() < 0.2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.1.png", "0.15.png"]


def test_every_kind_of_curve_has_a_style_of_its_own(tmp_path: Path) -> None:
    names = ("unmasked", "masked", "randomised", "corrected")
    path = fsc_picture(FREQUENCY, dict.fromkeys(names, curve(0.1)), tmp_path / "a.png", crossings={}, title="both")
    assert path.is_file()


@pytest.mark.parametrize("curves", [{}, {"unmasked": [1.0, 0.5]}])
def test_curves_that_do_not_fit_are_refused(tmp_path: Path, curves: dict) -> None:
    with pytest.raises(UsageError, match="do not fit"):
        fsc_picture(FREQUENCY, curves, tmp_path / "a.png", crossings={})
    assert not list(tmp_path.iterdir())
