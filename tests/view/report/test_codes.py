from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest

from emres.view.report.codes import (
    OUTSIDE,
    UNDETERMINED,
    coarsened,
    coded_density,
    coded_resolution,
    decided,
    packed,
)

RNG = np.random.default_rng(3)


def test_a_resolution_comes_back_within_half_a_step_and_outside_stays_outside() -> None:
    values = RNG.uniform(2.5, 9.0, size=(6, 7, 8)).astype(np.float32)
    values[0], values[1] = 0, np.nan
    coded = coded_resolution(values)
    known = coded.codes[2:].astype(float)
    assert (coded.codes[0] == OUTSIDE).all()
    assert (coded.codes[1] == UNDETERMINED).all()
    assert (known.min(), known.max()) == (1, 254)
    step = (coded.high - coded.low) / 253
    assert np.abs(coded.low + (known - 1) * step - values[2:]).max() <= 0.51 * step


@pytest.mark.parametrize("values", [np.full((2, 2, 2), 4.0), np.zeros((2, 2, 2)), np.full((2, 2, 2), np.nan)])
def test_a_resolution_of_one_value_or_none_is_coded_too(values: np.ndarray) -> None:
    coded = coded_resolution(values.astype(np.float32))
    assert coded.high > coded.low
    assert len(np.unique(coded.codes)) == 1


def test_a_density_comes_back_within_half_a_step_but_for_its_tails() -> None:
    values = RNG.normal(size=(20, 20, 20)).astype(np.float32)
    coded = coded_density(values)
    back = coded.low + coded.codes * (coded.high - coded.low) / 255
    inside = (values > coded.low) & (values < coded.high)
    assert inside.mean() > 0.995
    assert np.abs(back - values)[inside].max() <= 0.51 * (coded.high - coded.low) / 255


def test_the_contour_level_lies_inside_the_coded_range_even_among_the_tails() -> None:
    values = np.zeros((20, 20, 20), dtype=np.float32)
    values[0, 0, 0] = 9.0  # one voxel in 8,000: beyond the percentile that is kept
    coded = coded_density(values, keep=6.0)
    assert coded.low < 6.0 < coded.high


@pytest.mark.parametrize("value", [0.0, -3.0, 1e30])
def test_a_constant_density_is_coded_without_a_fault(value: float) -> None:
    coded = coded_density(np.full((3, 3, 3), value, dtype=np.float32))
    assert np.isfinite([coded.low, coded.high]).all()


def test_resmaps_hundred_is_not_determined_inside_a_mask_and_outside_where_there_is_no_mask() -> None:
    values = np.array([[[0.0, 100.0, 4.0, np.nan]]], dtype=np.float32)
    assert np.array_equal(decided(values), [[[0, np.nan, 4, np.nan]]], equal_nan=True)
    assert np.array_equal(decided(values[..., 1:3], covers_box=True), [[[0, 4]]])


def test_averaging_mixes_no_outside_into_a_resolution() -> None:
    values = np.full((4, 4, 4), 5.0, dtype=np.float32)
    values[:, :, 1] = 0  # half of the first cubes lies outside
    values[:, :, 2:] = np.nan
    values[0, 0, 2] = 7.0
    coarse = coarsened(values, 2)
    assert np.array_equal(coarse[..., 0], np.full((2, 2), 5.0))
    assert np.isnan(coarse[..., 1]).all()


def test_a_voxel_that_is_mostly_outside_is_outside() -> None:
    values = np.zeros((2, 2, 2), dtype=np.float32)
    values[0, 0, 0] = 4.0
    assert coarsened(values, 2).tolist() == [[[0.0]]]


def test_packed_volumes_come_back_bit_for_bit() -> None:
    volumes = [RNG.integers(0, 256, size=(3, 4, 5), dtype=np.uint8) for _ in range(2)]
    text = packed(volumes)
    raw = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8).reshape(2, 3, 4, 5)
    back = np.cumsum(raw, axis=-1, dtype=np.uint8)
    assert all(np.array_equal(a, b) for a, b in zip(back, volumes, strict=True))
