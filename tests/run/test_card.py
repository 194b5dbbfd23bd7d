"""What a card says follows from what was measured."""

from __future__ import annotations

import numpy as np
import pytest

from emres.model.patches import Example
from emres.run.card import verdict
from emres.run.evaluate import ROWS, RealMap, held_out_errors, real_map_summary


def real(reported: float, median: float, voxel_size: float = 1.5) -> RealMap:
    return RealMap("map.mrc", "EMD-1", voxel_size, voxel_size, reported, median)


def test_a_model_that_says_113_percent_of_the_reported_is_perfect() -> None:
    summary = real_map_summary([real(r, 1.13 * r, voxel_size=r / 2) for r in (3.0, 4.0, 8.0)])
    assert summary["mean_error"] == pytest.approx(0, abs=1e-9)
    assert summary["spearman"] == pytest.approx(1)
    assert summary["best_constant_error"] == pytest.approx(1.13 * (1 + 0 + 4) / 3)


def test_what_the_voxel_size_alone_tells_is_stated() -> None:
    maps = [real(3 * size, 5.0 + size % 2, voxel_size=size) for size in (1.5, 3.0, 6.0)]
    summary = real_map_summary(maps)
    assert summary["best_multiple_error"] < 0.2
    assert summary["spearman_of_voxel_size"] == pytest.approx(1)


def test_held_out_errors_are_those_of_the_answers() -> None:
    """A predictor that reads the answer off the density is perfect on the first version, 1 Å off on the second."""
    rng = np.random.default_rng(0)
    resolution = rng.uniform(4, 6, size=(12, 12, 12)).astype(np.float32)
    densities = np.stack([resolution, resolution + 1]).astype(np.float16)
    target = np.log(resolution / 1.5).astype(np.float16)
    example = Example("made", "1", 3.0, densities, target, np.ones(target.shape, dtype=bool))
    table = held_out_errors(lambda density, mask: density, [example], constant=3.0)  # type: ignore[arg-type]
    assert list(table) == list(ROWS)
    assert table[ROWS[0]][0].mae == pytest.approx(0, abs=0.01)
    assert table[ROWS[1]][0].mae == pytest.approx(1, abs=0.01)
    assert table[ROWS[3]][0].median_error == pytest.approx(abs(4.5 - np.median(resolution)), abs=0.01)
    assert np.isnan(table[ROWS[4]][0].mae)


def test_the_verdict_spares_nobody() -> None:
    row = {"mae": 1.0, "spearman": 0.5}
    weak = dict.fromkeys(ROWS, row) | {ROWS[2]: {"mae": 0.5, "spearman": 0.0}, ROWS[4]: {"mae": 0.0, "spearman": 0.7}}
    assert "2.00 times that of each map's own median (which beats it)" in verdict(weak)
    assert "worse than minus the local rms" in verdict(weak)
