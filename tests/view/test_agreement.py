"""Pictures of agreement: they appear whole, show nearly all that there is, and refuse to show nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emres.errors import UsageError
from emres.view.agreement import (
    _dense,
    _limits,
    _quantiles,
    agreement_picture,
    calibration_picture,
    real_maps_picture,
)

CELLS = [[12, 12, 500.0], [13, 12, 300.0], [20, 18, 199.0], [119, 119, 0.5]]


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def test_predictions_against_targets(tmp_path: Path) -> None:
    assert is_png(agreement_picture(CELLS, 0.25, tmp_path / "a.png", title="a model"))
    assert is_png(agreement_picture([[12, 12, 1]], 0.25, tmp_path / "one.png"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "one.png"]
    with pytest.raises(UsageError, match="no agreement"):
        agreement_picture([], 0.25, tmp_path / "none.png")


def test_the_axes_hold_nearly_all_voxels_and_no_more() -> None:
    low, high = _limits(_dense(CELLS), 0.25)
    assert 2.5 <= low <= 3.0
    assert 5.0 <= high <= 6.0  # the one voxel of 30 Å would leave all others in a corner


def test_residuals_are_quartiles_of_the_predictions() -> None:
    row = np.zeros(40)
    row[16:20] = 1
    assert _quantiles(row, 0.25) == pytest.approx([4.25, 4.5, 4.75])


def test_an_uncertainty_against_the_errors(tmp_path: Path) -> None:
    found = {"sigma": [0.1, 0.3], "error": [0.2, 0.25], "share": [0.5, 0.8], "within": 0.65}
    assert is_png(calibration_picture(found, tmp_path / "c.png", title="a model"))


def test_real_maps_with_one_prediction_or_two(tmp_path: Path) -> None:
    one = {"emdb_id": "EMD-1", "file": "a.map", "reported": 3.4, "medians": {"blind": 3.9}}
    two = [
        {**one, "medians": {"blind": 3.9, "told": 3.8}},
        {**one, "reported": 9.0, "medians": {"blind": 9.9, "told": 9}},
    ]
    assert is_png(real_maps_picture([one], 1.13, tmp_path / "one.png"))
    assert is_png(real_maps_picture(two, 1.13, tmp_path / "two.png", title="a model"))
    with pytest.raises(UsageError, match="no real map"):
        real_maps_picture([], 1.13, tmp_path / "none.png")
