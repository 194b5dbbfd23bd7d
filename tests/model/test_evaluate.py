"""The error, defined once."""

from __future__ import annotations

import numpy as np
import pytest

from emres.errors import UsageError
from emres.model.evaluate import map_errors, markdown_table, mean_errors


@pytest.fixture
def target() -> np.ndarray:
    return np.random.default_rng(0).uniform(3, 6, size=(8, 8, 8))


def test_a_perfect_prediction(target: np.ndarray) -> None:
    errors = map_errors(target, target, target > 0)
    assert (errors.mae, errors.rmse, errors.median_error, errors.within_half) == (0, 0, 0, 1)
    assert errors.spearman == pytest.approx(1)


def test_a_shift_is_all_level_and_no_pattern(target: np.ndarray) -> None:
    errors = map_errors(target + 0.7, target, target > 0)
    assert errors.mae == pytest.approx(0.7)
    assert errors.median_error == pytest.approx(0.7)
    assert errors.spearman == pytest.approx(1)
    assert (errors.within_half, errors.within_one) == (0, 1)


def test_only_the_mask_counts(target: np.ndarray) -> None:
    mask = np.zeros(target.shape, dtype=bool)
    mask[:4] = True
    prediction = target.copy()
    prediction[4:] = 100
    errors = map_errors(prediction, target, mask)
    assert errors.mae == 0
    assert errors.voxels == mask.sum()


def test_a_constant_has_no_rank(target: np.ndarray) -> None:
    errors = map_errors(float(np.median(target)), target, target > 0)
    assert np.isnan(errors.spearman)
    assert errors.median_error == pytest.approx(0, abs=1e-12)


def test_maps_count_once_whatever_their_size(target: np.ndarray) -> None:
    small = np.zeros(target.shape, dtype=bool)
    small[0, 0, :2] = True
    means = mean_errors([map_errors(target + 1, target, small), map_errors(target, target, target > 0)])
    assert means["mae"] == pytest.approx(0.5)


def test_an_empty_mask_is_refused(target: np.ndarray) -> None:
    with pytest.raises(UsageError, match="nothing to evaluate"):
        map_errors(target, target, target > 100)


def test_a_table_shows_a_dash_where_there_is_no_number() -> None:
    table = markdown_table({"constant": {"mae": 0.5, "spearman": float("nan")}}, ["mae", "spearman"])
    assert table.splitlines()[-1] == "| constant | 0.50 | - |"
