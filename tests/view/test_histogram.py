from __future__ import annotations

import json

import numpy as np
import pytest

from emres.errors import MapError
from emres.view.histogram import BINS, histogram


def test_the_histogram_is_that_of_the_whole_however_it_is_cut() -> None:
    values = np.random.default_rng(1).uniform(2.5, 9, size=(20, 10, 10)).astype(np.float32)
    values[:5] = 0
    values[5, 0] = 100  # what ResMap did not resolve
    resolved = values[(values > 0) & (values < 100)]
    found = histogram(lambda: [values[k : k + 3] for k in range(0, 20, 3)])
    counts, edges = np.histogram(resolved, BINS)
    assert found["counts"] == counts.tolist()
    np.testing.assert_allclose(found["values"], edges)
    assert found["minmax"] == {"min": float(resolved.min()), "max": float(resolved.max())}
    assert sum(found["counts"]) == resolved.size
    assert json.loads(json.dumps(found)) == found


def test_a_constant_resolution_lies_inside_the_bins() -> None:
    found = histogram(lambda: [np.full(7, 4.0)])
    assert sum(found["counts"]) == 7
    assert found["minmax"] == {"min": 4.0, "max": 4.0}


def test_nothing_determined_is_refused() -> None:
    with pytest.raises(MapError, match="no resolved voxel"):
        histogram(lambda: [np.zeros(3), np.array([100.0, np.nan])])
