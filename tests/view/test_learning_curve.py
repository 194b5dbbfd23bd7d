"""The picture of a training shows what is there: every step, every look, or only the steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emres.errors import UsageError
from emres.view import learning_curve
from emres.view.learning_curve import learning_picture

LOOKS = [{"step": 50.0 * k, "rate": 1e-3, "mae": 1 / k, "validation loss": 0.1} for k in range(1, 5)]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that were drawn, in place of files."""
    figures: list[Any] = []

    def keep(figure: Any, path: Path) -> Path:
        figures.append(figure)
        return path

    monkeypatch.setattr(learning_curve, "save_png", keep)
    return figures


def test_long_trainings_are_averaged_to_their_last_step(drawn: list[Any]) -> None:
    losses = np.linspace(1, 0.1, 10_007)
    learning_picture(losses, LOOKS, "x.png", best=LOOKS[-1], title="mine")
    loss, error, rate = drawn[0].axes
    steps, values = loss.lines[0].get_data()
    assert len(steps) <= 400
    assert steps[-1] == 10_007
    assert values[0] == pytest.approx(losses[:26].mean(), rel=1e-2)
    assert error.lines[0].get_ydata().tolist() == [look["mae"] for look in LOOKS]
    assert error.get_legend().get_texts()[0].get_text() == "0.250 Å at 200"
    assert rate.get_xlabel() == "step"


def test_without_validation_only_losses_are_drawn(drawn: list[Any]) -> None:
    learning_picture([-1.0, -2.0], [{"step": 2.0, "rate": 0.1}], "x.png")
    assert len(drawn[0].axes) == 2
    assert drawn[0].axes[0].get_yscale() == "linear"  # a logarithm of a likelihood may be negative


def test_a_picture_replaces_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    path.write_text("old")
    assert learning_picture([1.0, 0.5], LOOKS[:1], path) == path
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_to_draw_is_told() -> None:
    with pytest.raises(UsageError, match="got 0 steps, 0 looks"):
        learning_picture([], [], "x.png")
