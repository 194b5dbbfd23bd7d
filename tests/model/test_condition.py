"""The numbers a net is told: finite, of order one, and what is not known is said to be unknown."""

from __future__ import annotations

import numpy as np
import pytest

from emres.errors import UsageError
from emres.model.condition import LENGTH, condition_of
from emres.volume.spectrum import NYQUIST, SHELLS, Spectra

FALLING = tuple(float(value) for value in np.logspace(1, -6, SHELLS))


def test_numbers_are_finite_and_of_order_one() -> None:
    found = condition_of(Spectra(2.0, FALLING, (0.0,) * SHELLS), reported=3.4)
    assert found.shape == (LENGTH,)
    assert found.dtype == np.float32
    assert np.abs(found).max() < 5


def test_a_map_without_surroundings_is_told_from_a_masked_one() -> None:
    tight, masked = condition_of(Spectra(1.5, FALLING)), condition_of(Spectra(1.5, FALLING).masked())
    assert tight[2 * NYQUIST] == 0
    assert masked[2 * NYQUIST] == 1
    np.testing.assert_array_equal(tight[:NYQUIST], masked[:NYQUIST])


def test_the_reported_resolution_is_told_or_not() -> None:
    told, other, untold = (condition_of(Spectra(1.5, FALLING), reported=value) for value in (3.0, 6.0, None))
    assert told[-1] == other[-1] == 1
    assert untold[-2:].tolist() == [0, 0]
    assert other[-2] - told[-2] == pytest.approx(np.log(2))
    np.testing.assert_array_equal(told[:-2], untold[:-2])


@pytest.mark.parametrize("resolution", [0.0, -3.0, float("nan"), float("inf")])
def test_what_is_no_resolution_is_refused(resolution: float) -> None:
    with pytest.raises(UsageError, match="resolution"):
        condition_of(Spectra(1.5, FALLING), reported=resolution)
