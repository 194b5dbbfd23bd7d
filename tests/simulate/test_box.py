"""The box lies on the model, with its padding, or says that it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emres.errors import UsageError
from emres.simulate.atoms import Atoms
from emres.simulate.box import box_round


def test_the_box_lies_on_the_model_with_its_padding(globule: Atoms) -> None:
    moved = replace(globule, positions=globule.positions + np.array([50.0, -20.0, 7.0]))
    for options in ({}, {"cubic": True}, {"odd": True}, {"shape": (40, 45, 33)}):
        grid = box_round(moved, 1.1, padding=9.0, **options)  # type: ignore[arg-type]
        first = moved.positions.min(axis=0) - np.array(grid.origin)
        last = np.array(grid.origin) + np.array(grid.extent) - 1.1 - moved.positions.max(axis=0)
        np.testing.assert_allclose(first, last, atol=1e-6)
        assert options.get("shape") or min(*first, *last) >= 9.0 - 1.1
    assert box_round(moved, 1.1, shape=(40, 45, 33)).shape == (40, 45, 33)
    assert all(side % 2 for side in box_round(moved, 1.1, odd=True).shape)
    assert len(set(box_round(moved, 1.1, cubic=True).shape)) == 1


def test_a_box_too_small_is_refused_with_both_sizes(globule: Atoms) -> None:
    with pytest.raises(UsageError, match=r"got 12 x 60 x 60 Å .* expected more than 2\d"):
        box_round(globule, 1.0, shape=(12, 60, 60))
