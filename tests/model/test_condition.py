"""The numbers a net is told: finite, of order one, and what is not known is said to be unknown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emres.errors import UsageError
from emres.model.condition import (
    KINDS_OF_NOISE,
    KNOWN,
    LENGTH,
    SHOWN,
    STRIPPED,
    TOLD,
    blind,
    condition_of,
    kinds_of,
    level_at,
    whitened,
)
from emres.volume.spectrum import SHELLS, SIDE, Spectra

FALLING = tuple(float(value) for value in np.logspace(1, -6, SHELLS))


def test_numbers_are_finite_and_of_order_one() -> None:
    found = condition_of(Spectra(2.0, FALLING, (0.0,) * SHELLS), reported=3.4)
    assert found.shape == (LENGTH,)
    assert found.dtype == np.float32
    assert np.abs(found).max() < 5


def test_noise_is_known_where_there_is_some_beside_the_molecule() -> None:
    known, tight = condition_of(Spectra(1.5, FALLING, FALLING)), condition_of(Spectra(1.5, FALLING))
    assert known[KNOWN] == 1
    assert tight[KNOWN] == 0
    np.testing.assert_array_equal(tight, condition_of(Spectra(1.5, FALLING, FALLING).masked()))


def test_a_filter_does_not_show_where_the_noise_is_known() -> None:
    spectra, gain = Spectra(1.5, FALLING, FALLING[::-1]), np.linspace(2, 0.1, SHELLS)
    one, other = (torch.from_numpy(condition_of(found))[None] for found in (spectra, spectra.filtered(gain)))
    torch.testing.assert_close(whitened(one), whitened(other), atol=1e-4, rtol=1e-4)


def test_a_gain_does_not_show_where_the_noise_is_not_known() -> None:
    spectra = Spectra(1.5, FALLING)
    one, other = (torch.from_numpy(condition_of(found))[None] for found in (spectra, spectra.scaled(1.7)))
    torch.testing.assert_close(whitened(one), whitened(other), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sampling", [1.5, 3.0])
def test_a_map_whose_finest_noise_is_gone_is_one_that_was_filtered(sampling: float) -> None:
    """What lies beyond the Nyquist frequency of the map itself was taken by no filter."""
    frequency = np.arange(SHELLS) / SIDE * sampling / 1.5
    known, blurred = (np.where(frequency <= 0.5, np.exp(-fall * frequency), 1e-9) for fall in (4, 8))
    spectra = [Spectra(1.5, FALLING, tuple(noise), sampling=sampling) for noise in (known, blurred)]
    conditions = [condition_of(one, 4.0) for one in spectra] + [condition_of(spectra[0].masked())]
    noise, told = kinds_of(torch.from_numpy(np.stack(conditions)))
    assert noise.tolist() == [2, 1, 0]
    assert told.tolist() == [1, 1, 0]


@pytest.mark.parametrize("noise", [FALLING, ()])
def test_blind_leaves_what_the_map_itself_shows(noise: tuple[float, ...]) -> None:
    spectra = Spectra(1.5, FALLING, noise)
    told, untold = condition_of(spectra, 4.0, shown=1.2), condition_of(spectra, shown=1.2 if noise else None)
    np.testing.assert_array_equal(blind(told), untold)
    np.testing.assert_array_equal(blind(np.stack([told, told])), np.stack([untold, untold]))


def test_levels_come_back_as_logarithms_of_voxels() -> None:
    told = torch.from_numpy(condition_of(Spectra(1.5, FALLING), 6.0, shown=1.2))[None]
    for place, level in ((SHOWN, 1.2), (TOLD, np.log(6.0 / 1.5))):
        found, there = level_at(told, place)
        assert found.item() == pytest.approx(level, abs=1e-6)
        assert there.item() == 1


def test_the_reported_resolution_is_told_or_not() -> None:
    told, other, untold = (condition_of(Spectra(1.5, FALLING), reported=value) for value in (3.0, 6.0, None))
    assert told[TOLD + 1] == other[TOLD + 1] == 1
    assert untold[TOLD : TOLD + 2].tolist() == [0, 0]
    assert other[TOLD] - told[TOLD] == pytest.approx(np.log(2))
    np.testing.assert_array_equal(told[:TOLD], untold[:TOLD])


def test_stripped_maps_are_a_kind_of_their_own_and_no_net_sees_it() -> None:
    usual, stripped = (
        torch.from_numpy(condition_of(Spectra(1.5, FALLING, FALLING), 4.0, stripped=which))[None]
        for which in (False, True)
    )
    assert [int(kind) for kind in kinds_of(stripped)] == [KINDS_OF_NOISE - 1, 1]
    assert int(kinds_of(usual)[0]) < KINDS_OF_NOISE - 1
    assert torch.equal(whitened(usual), whitened(stripped))
    np.testing.assert_array_equal(blind(stripped.numpy())[0, STRIPPED], 1)  # the map looks so, whatever is told


@pytest.mark.parametrize("resolution", [0.0, -3.0, float("nan"), float("inf")])
def test_what_is_no_resolution_is_refused(resolution: float) -> None:
    with pytest.raises(UsageError, match="resolution"):
        condition_of(Spectra(1.5, FALLING), reported=resolution)
