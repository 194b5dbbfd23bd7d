from __future__ import annotations

import numpy as np
import pytest

from emres.volume.resolved import NOT_DETERMINED, determined, mean_of_determined


def test_an_answer_is_a_number_that_no_method_uses_as_a_mark() -> None:
    values = np.array([0, -1, np.nan, np.inf, NOT_DETERMINED, 99.9, 1e-3], dtype=np.float32)
    assert determined(values).tolist() == [False] * 5 + [True] * 2


@pytest.mark.parametrize("mark", [NOT_DETERMINED, np.nan])
@pytest.mark.parametrize(
    ("voxels", "expected"),
    [
        ([0, 0, 0, 0, 0, 0, 0, 0], 0),
        ([4, 0, 0, 0, 0, 0, 0, 8], 6),
        (["?", 0, 0, 0, 0, 0, 0, 0], NOT_DETERMINED),
        (["?"] * 8, NOT_DETERMINED),
        (["?", "?", "?", "?", "?", 4, 8, 0], 6),
    ],
)
def test_a_mean_is_of_what_is_determined(mark: float, voxels: list[float | str], expected: float) -> None:
    values = np.array([mark if voxel == "?" else voxel for voxel in voxels], dtype=np.float32).reshape(2, 2, 2)
    assert mean_of_determined(values).ravel().tolist() == [pytest.approx(expected)]


def test_odd_sides_are_averaged_over_what_is_there() -> None:
    values = np.zeros((3, 3, 3), dtype=np.float32)
    values[2, 2, 2], values[0, 0, 2] = 5, NOT_DETERMINED
    found = mean_of_determined(values)
    assert found[1, 1, 1] == 5
    assert found[0, 0, 1] == NOT_DETERMINED
    assert np.count_nonzero(found) == 2
