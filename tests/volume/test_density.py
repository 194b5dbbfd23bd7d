"""Statistics and normalisation of a whole volume."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from emres.errors import MapError
from emres.volume.density import RobustStatistics, RunningStatistics, robust_statistics


@given(st.integers(1, 5), st.sampled_from([0.0, 1e4, -1e6]), st.sampled_from([1e-4, 1.0, 300.0]), st.integers(0, 9))
def test_statistics_are_numpys_at_any_offset_in_any_slabs(parts: int, offset: float, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = (offset + scale * rng.normal(size=(12, 45, 300))).astype(np.float32)
    running = RunningStatistics()
    for slab in np.array_split(values, parts, axis=seed % 3):
        running.add(slab)
    found, wide = running.result(), values.astype(np.float64)
    assert (found.minimum, found.maximum) == (values.min(), values.max())
    assert found.mean == pytest.approx(wide.mean(), rel=1e-12, abs=1e-12 * scale)
    assert found.std == pytest.approx(wide.std(), rel=1e-9)


def test_statistics_tell_a_constant_volume() -> None:
    running = RunningStatistics()
    for _ in range(3):
        running.add(np.full((4, 5, 6), 1.1, np.float32))
    assert running.result().constant
    assert running.result().std == 0


@pytest.fixture(scope="module")
def molecule() -> tuple[np.ndarray, np.ndarray]:
    """A noisy ball and where it is."""
    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[:48, :48, :48]
    inside = (z - 24) ** 2 + (y - 24) ** 2 + (x - 24) ** 2 < 14**2
    values = rng.normal(size=inside.shape) + inside * rng.normal(4, 2, inside.shape)
    return values.astype(np.float32), inside


@given(gain=st.floats(1e-3, 1e3), offset=st.floats(-50, 50))
def test_normalised_density_does_not_move_with_gain_and_offset(
    molecule: tuple[np.ndarray, np.ndarray], gain: float, offset: float
) -> None:
    values, inside = molecule
    changed = (gain * (values.astype(np.float64) + offset)).astype(np.float32)
    expected, found = (robust_statistics(each, inside)(each) for each in (values, changed))
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_normalised_density_does_not_move_with_padding_and_masking(molecule: tuple[np.ndarray, np.ndarray]) -> None:
    values, inside = molecule
    normalisation = robust_statistics(values, inside)
    padded = [np.pad(each, 20) for each in (values, inside)]
    masked = np.where(ndimage.binary_dilation(inside, iterations=3), values, 0)
    for other in (robust_statistics(*padded), robust_statistics(masked, inside)):
        assert other.scale == pytest.approx(normalisation.scale, rel=0.01)
        assert other.centre == pytest.approx(normalisation.centre, abs=0.02 * normalisation.scale)


@pytest.mark.parametrize(
    ("change", "stripped"),
    [
        ("as it is", False),
        ("masked", False),
        ("nothing negative", True),
        ("a contour", True),
        ("masked, nothing negative", True),
        ("offset by 3, nothing below", True),
        ("all above zero", False),
    ],
)
def test_a_map_of_which_all_below_its_background_was_taken_away_is_known(
    molecule: tuple[np.ndarray, np.ndarray], change: str, stripped: bool
) -> None:
    values, inside = molecule
    near = ndimage.binary_dilation(inside, iterations=3)
    changed = {
        "as it is": values,
        "masked": np.where(near, values, 0),
        "nothing negative": np.maximum(values, 0),
        "a contour": np.where(values > 1.5, values, 0),
        "masked, nothing negative": np.where(near, np.maximum(values, 0), 0),
        "offset by 3, nothing below": np.maximum(values, 0) + 3,
        "all above zero": values - values.min(),
    }[change]
    statistics = RobustStatistics()
    for part, where in zip(np.split(changed, 3), np.split(inside, 3), strict=True):
        statistics.add(part, where)
    assert statistics.stripped() == stripped


def test_without_anything_beside_the_molecule_nobody_can_tell(molecule: tuple[np.ndarray, np.ndarray]) -> None:
    statistics = RobustStatistics()
    statistics.add(np.maximum(molecule[0], 0), np.ones(molecule[0].shape, dtype=bool))
    assert not statistics.stripped()


def test_inside_a_normalised_molecule_the_mean_square_is_one(molecule: tuple[np.ndarray, np.ndarray]) -> None:
    values, inside = molecule
    normalised = robust_statistics(values, inside)(values)
    assert normalised.dtype == np.float32
    assert np.mean(normalised[inside] ** 2) == pytest.approx(1, rel=1e-4)
    assert np.median(normalised[~inside]) == pytest.approx(0, abs=1e-5)


def test_a_mask_of_all_voxels_is_normalised_about_zero(molecule: tuple[np.ndarray, np.ndarray]) -> None:
    values, _ = molecule
    assert robust_statistics(values, np.ones(values.shape, dtype=bool)).centre == 0


@pytest.mark.parametrize(("values", "inside"), [(1.0, False), (3.0, True), (0.0, True)])
def test_nothing_to_normalise_is_refused(values: float, inside: bool) -> None:
    with pytest.raises(MapError):
        robust_statistics(np.full((5, 5, 5), values, np.float32), np.full((5, 5, 5), inside))
