from __future__ import annotations

import numpy as np
import pytest

from emres.run.prepare import Summary
from emres.view.report.distribution import Distribution, compared, histogram_edges, scatter_points

RNG = np.random.default_rng(4)


def seen(*parts: np.ndarray) -> Distribution:
    made = Distribution()
    for part in parts:
        made.add(part)
    return made


@pytest.mark.parametrize("share", [0.02, 0.05, 0.5, 0.95, 0.98])
def test_quantiles_are_numpys_to_a_hundredth(share: float) -> None:
    values = RNG.gamma(9, 0.5, size=20_000).astype(np.float32) + 2
    assert seen(values[:7000], values[7000:]).quantile(share) == pytest.approx(np.quantile(values, share), abs=0.011)


def test_the_median_is_the_one_that_the_store_records() -> None:
    values = np.concatenate([RNG.uniform(2, 9, size=5001), np.zeros(300)]).astype(np.float32)
    summary = Summary()
    summary.add(values)
    assert seen(values).quantile(0.5) == pytest.approx(summary.result()["median"], abs=0.011)
    assert seen(values).voxels == summary.result()["voxels"]


def test_levels_stay_what_they_are() -> None:
    levels = seen(np.array([4.39, 9.39, 9.39, 14.0], dtype=np.float32))
    assert [levels.quantile(share) for share in (0.1, 0.5, 1.0)] == [4.39, 9.39, 14.0]


def test_what_is_not_determined_is_counted_apart() -> None:
    both = seen(np.array([np.nan, np.nan, 5.0, 0.0], dtype=np.float32))
    assert (both.voxels, both.undetermined) == (1, 2)


@pytest.mark.parametrize("spread", [0.0, 0.05, 1.0, 40.0])
def test_a_histogram_holds_nearly_all_voxels_in_round_bars(spread: float) -> None:
    distribution = seen((5 + spread * RNG.uniform(size=9000)).astype(np.float32))
    edges = histogram_edges(distribution)
    counts = distribution.histogram(edges)
    assert len(counts) == len(edges) - 1 <= 64
    assert sum(counts) >= 0.99 * distribution.voxels
    assert np.allclose(np.round(edges, 2), edges)
    assert edges[-1] - edges[0] >= 0.2


def test_an_empty_distribution_has_a_histogram_of_nothing() -> None:
    nothing = seen(np.zeros(5, dtype=np.float32))
    assert sum(nothing.histogram(histogram_edges(nothing))) == 0
    assert np.isnan(nothing.quantile(0.5))


def test_results_are_compared_on_the_voxels_where_both_have_a_value() -> None:
    a = np.linspace(3, 6, 500, dtype=np.float32)
    b = a + 0.5
    c = 9 - a
    a[:50], b[-50:], c[100] = 0, np.nan, 0
    pairs = {(pair.first, pair.second): pair for pair in compared(np.stack([a, b, c]))}
    assert pairs[0, 1].voxels == 400
    assert pairs[0, 1].difference == pytest.approx(0.5, abs=1e-5)
    assert pairs[0, 1].shift == pytest.approx(0.5, abs=1e-5)
    assert pairs[0, 1].spearman == pytest.approx(1)
    assert pairs[0, 2].spearman == pytest.approx(-1)
    assert pairs[1, 2].voxels == 449


def test_a_constant_result_has_no_rank_correlation_and_strangers_no_comparison() -> None:
    values = RNG.uniform(3, 6, size=100)
    [pair] = compared(np.stack([values, np.full(100, 4.0)]))
    assert pair.spearman is None
    assert compared(np.array([[3.0, 4.0, 0, 0], [0, 0, 3.0, 4.0]])) == []


def test_scatter_points_lie_at_the_same_voxels_and_are_drawn_alike_every_time() -> None:
    samples = RNG.uniform(3, 6, size=(2, 5000)).astype(np.float32)
    samples[1] = samples[0] + 1
    points = scatter_points(samples, 200)
    assert points == scatter_points(samples, 200)
    assert np.allclose(np.array(points[1]) - np.array(points[0]), 1, atol=0.011)
