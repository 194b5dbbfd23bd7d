"""The error, defined once; an uncertainty against the errors that were made."""

from __future__ import annotations

import numpy as np
import pytest

from emres.errors import MapError, UsageError
from emres.model.evaluate import calibration, map_errors, markdown_table, mean_errors, median_errors, rank_errors


@pytest.fixture
def target() -> np.ndarray:
    return np.random.default_rng(0).uniform(3, 6, size=(8, 8, 8))


def test_a_perfect_prediction(target: np.ndarray) -> None:
    errors = map_errors(target, target, target > 0)
    assert (errors.mae, errors.rmse, errors.median_error, errors.within_half) == (0, 0, 0, 1)
    assert errors.spearman == pytest.approx(1)


def test_a_shift_is_all_level_and_no_pattern(target: np.ndarray) -> None:
    errors = map_errors(target - 0.7, target, target > 0)
    assert errors.mae == pytest.approx(0.7)
    assert errors.median_error == pytest.approx(0.7)
    assert errors.shift == pytest.approx(-0.7)
    assert errors.pattern == pytest.approx(0, abs=1e-12)
    assert errors.spearman == pytest.approx(1)
    assert (errors.within_half, errors.within_one) == (0, 1)


def test_only_the_mask_counts(target: np.ndarray) -> None:
    mask = np.zeros(target.shape, dtype=bool)
    mask[:4] = True
    prediction = target.copy()
    prediction[4:] = 100
    prediction[7] = np.nan
    errors = map_errors(prediction, target, mask)
    assert errors.mae == 0
    assert errors.voxels == mask.sum()


def test_a_constant_has_no_rank(target: np.ndarray) -> None:
    errors = map_errors(float(np.median(target)), target, target > 0)
    assert np.isnan(errors.spearman)
    assert errors.median_error == pytest.approx(0, abs=1e-12)


def test_what_is_no_resolution_has_a_rank_and_no_error(target: np.ndarray) -> None:
    errors = rank_errors(np.exp(target), target, target > 0)
    assert errors.spearman == pytest.approx(1)
    assert np.isnan([errors.mae, errors.rmse, errors.within_one]).all()


def test_maps_count_once_whatever_their_size(target: np.ndarray) -> None:
    one = np.zeros(target.shape, dtype=bool)
    one[0, 0, 0] = True
    found = [map_errors(target + 1, target, one), *(map_errors(target, target, target > 0),) * 2]
    assert mean_errors(found)["mae"] == pytest.approx(1 / 3)
    assert median_errors(found)["mae"] == 0
    # A single voxel has no rank: the mean is that of the maps that have one.
    assert mean_errors(found)["spearman"] == pytest.approx(1)


def test_an_empty_mask_is_refused(target: np.ndarray) -> None:
    with pytest.raises(UsageError, match="nothing to evaluate"):
        map_errors(target, target, target > 100)


def test_a_prediction_without_a_number_is_refused_with_how_many(target: np.ndarray) -> None:
    prediction = target.copy()
    prediction[0, 0, :3] = np.nan
    prediction[0, 0, 3] = np.inf
    with pytest.raises(MapError, match="4 of 512 voxels NaN or infinite"):
        map_errors(prediction, target, target > 0)


def test_a_right_uncertainty_holds_68_percent_and_its_tenths_follow_the_errors() -> None:
    rng = np.random.default_rng(1)
    sigma = rng.uniform(0.1, 1.0, size=(20, 20, 50))
    target = np.full(sigma.shape, 5.0)
    found = calibration(target + sigma * rng.normal(size=sigma.shape), sigma, target, target > 0)
    assert found.within == pytest.approx(0.683, abs=0.02)
    assert len(found.sigma) == 10
    assert list(found.sigma) == sorted(found.sigma)
    assert found.error == pytest.approx(found.sigma, rel=0.15)
    half = calibration(target + sigma * rng.normal(size=sigma.shape), sigma / 2, target, target > 0)
    assert half.within == pytest.approx(0.383, abs=0.02)


def test_three_voxels_have_no_ten_tenths() -> None:
    target = np.full((1, 1, 3), 4.0)
    assert calibration(target, target / 10, target, target > 0).share == (1.0, 1.0, 1.0)


def test_a_table_shows_a_dash_where_there_is_no_number() -> None:
    table = markdown_table({"constant": {"mae": 0.5, "spearman": float("nan"), "maps": 3}}, ["mae", "spearman", "maps"])
    assert table.splitlines()[-1] == "| constant | 0.50 | - | 3 |"
