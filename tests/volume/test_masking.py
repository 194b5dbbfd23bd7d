"""Where the molecule is, on simulated and real maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from emres.archive.mrc import read_mrc
from emres.errors import MapError, UsageError
from emres.volume import masking
from emres.volume.grid import grid_of
from emres.volume.masking import automatic_mask, block_any, fill_outside, grown, soft_edge, without_dust
from emres.volume.pyramid import block_mean

DATA = Path(__file__).parents[2] / "../shared/data"
SIMULATED = ["a", "b", "c"]
REAL = ["emd_1439", "emd_1832", "emd_6824"]

needs_data = pytest.mark.skipif(not (DATA / "references").is_dir(), reason="../shared/data/references is not here")

Case = tuple[np.ndarray, np.ndarray, tuple[float, float, float]]


def overlap(mask: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union."""
    return float((mask & other).sum() / (mask | other).sum())


@pytest.fixture(scope="module", params=SIMULATED)
def simulated(request: pytest.FixtureRequest) -> Case:
    """Mean of two noisy half maps, its mask and its voxel size, at half the sampling: there masks are made."""
    folder = DATA / "references" / request.param
    halves = [read_mrc(folder / f"half_map_{k}.map.gz") for k in (1, 2)]
    z, y, x = grid_of(halves[0]).voxel_size
    mask = read_mrc(folder / "mask.map.gz").values
    return block_mean((halves[0].values + halves[1].values) / 2), block_mean(mask) > 0.5, (2 * z, 2 * y, 2 * x)


@needs_data
def test_the_molecule_is_found_in_noise(simulated: Case) -> None:
    values, mask, voxel_size = simulated
    assert overlap(automatic_mask(values, voxel_size), mask) >= 0.8


@needs_data
def test_the_molecule_is_found_in_a_masked_map(simulated: Case) -> None:
    values, mask, voxel_size = simulated
    found = automatic_mask(values * mask, voxel_size)
    assert overlap(found, mask) >= 0.85
    assert not (found & ~ndimage.binary_dilation(mask)).any()


def test_the_mask_of_a_masked_map_does_not_reach_beyond_what_is_left_of_it() -> None:
    z, y, x = np.ogrid[:40, :40, :40]
    ball = (z - 20) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 < 12**2
    values = np.where(ball, np.random.default_rng(0).normal(5, 1, ball.shape), 0).astype(np.float32)
    np.testing.assert_array_equal(automatic_mask(values, (2.0, 2.0, 2.0)), ball)


@needs_data
@pytest.mark.parametrize("share", [3, 4, 5])
def test_the_molecule_is_found_in_a_crop_whose_faces_it_touches(simulated: Case, share: int) -> None:
    values, mask, voxel_size = simulated
    centre = np.argwhere(mask).mean(0).astype(int)
    crop = tuple(slice(max(c - n // share, 0), c + n // share) for c, n in zip(centre, mask.shape, strict=True))
    assert overlap(automatic_mask(values[crop], voxel_size), mask[crop]) >= 0.8


@needs_data
@pytest.mark.parametrize("gain", [1e-6, 37.0, 1e6])
def test_the_mask_does_not_move_with_the_gain(simulated: Case, gain: float) -> None:
    values, _, voxel_size = simulated
    unmoved, moved = (automatic_mask(values * np.float32(factor), voxel_size) for factor in (1, gain))
    assert (unmoved != moved).mean() < 1e-4


@needs_data
@pytest.mark.parametrize("offset", [-3.0, -0.5, 0.5, 3.0])
def test_the_mask_does_not_move_with_an_offset(simulated: Case, offset: float) -> None:
    values, _, voxel_size = simulated
    moved = automatic_mask(values + np.float32(offset * values.std()), voxel_size)
    assert overlap(moved, automatic_mask(values, voxel_size)) >= 0.9


@needs_data
@pytest.mark.parametrize("value", [0.0, -0.3])
def test_the_mask_does_not_move_with_the_padding_of_the_box(simulated: Case, value: float) -> None:
    values, _, voxel_size = simulated
    padded = automatic_mask(np.pad(values, 7, constant_values=np.float32(value)), voxel_size)
    np.testing.assert_array_equal(padded[7:-7, 7:-7, 7:-7], automatic_mask(values, voxel_size))


@needs_data
def test_the_mask_of_a_particle_in_a_sphere_does_not_move_with_an_offset(simulated: Case) -> None:
    values, _, voxel_size = simulated
    ball = np.square(np.indices(values.shape) - (np.array(values.shape)[:, None, None, None] - 1) / 2).sum(axis=0)
    inside = np.where(ball < (min(values.shape) / 2) ** 2, values, 0).astype(np.float32)
    one, other = (automatic_mask(inside + np.float32(offset), voxel_size) for offset in (0.0, 5 * inside.std()))
    assert (one & other).sum() > 0.95 * (one | other).sum()


@pytest.mark.parametrize("radius", [0.97, 1.3], ids=["whole", "cut by the box"])
def test_noise_in_a_particles_sphere_is_no_molecule(radius: float) -> None:
    """Strong noise, that ends at a soft sphere: the faces are 0, and it rises above a twentieth of the highest."""
    z, y, x = np.ogrid[-1:1:60j, -1:1:60j, -1:1:60j]
    distance = np.sqrt(z**2 + y**2 + x**2)
    rng = np.random.default_rng(1)
    ball = (distance < 0.3) * 1.0
    noise = ndimage.gaussian_filter(rng.normal(size=ball.shape), 1.0)
    noisy = ball + 0.3 * noise / noise.std()
    inside = noisy * np.clip((radius - distance) / 0.1, 0, 1)
    found = automatic_mask(inside.astype(np.float32), (2.0, 2.0, 2.0))
    assert overlap(found, ball > 0) > 0.6


@needs_data
@pytest.mark.parametrize("entry", REAL)
def test_the_molecule_is_found_in_real_maps(entry: str) -> None:
    volume = read_mrc(DATA / f"maps/{entry}.map.gz")
    mask = read_mrc(DATA / f"references/real/{entry}/mask.map.gz").values > 0.5
    assert overlap(automatic_mask(volume.values, grid_of(volume).voxel_size), mask) >= 0.85


@pytest.mark.parametrize("values", [np.zeros((20, 20, 20)), np.full((20, 20, 20), 3.0), -np.ones((20, 20, 20))])
def test_a_map_without_a_molecule_is_refused(values: np.ndarray) -> None:
    with pytest.raises(MapError, match="no molecule"):
        automatic_mask(values.astype(np.float32), (2.0, 2.0, 2.0))


def test_noise_is_judged_by_the_quiet_part_of_the_faces() -> None:
    rng = np.random.default_rng(0)
    box = rng.normal(5, 2, (60, 60, 60)).astype(np.float32)
    assert masking._noise(masking._faces(box)) == pytest.approx((5, 2), rel=0.05)
    box[:, :, :6] += 100  # a molecule on a quarter of the faces
    assert masking._noise(masking._faces(box)) == pytest.approx((5, 2), rel=0.3)


masks = st.builds(
    lambda seed, share, shape: np.random.default_rng(seed).random(shape) < share,
    st.integers(0, 999),
    st.sampled_from([0.0, 0.01, 0.3, 1.0]),
    st.tuples(*[st.integers(1, 14)] * 3),
)


@given(masks, st.integers(1, 5))
def test_a_block_is_in_the_mask_if_any_voxel_is(mask: np.ndarray, factor: int) -> None:
    coarse = block_any(mask, factor)
    assert coarse.shape == tuple(-(-n // factor) for n in mask.shape)
    for index in np.ndindex(coarse.shape):
        assert coarse[index] == mask[tuple(slice(i * factor, (i + 1) * factor) for i in index)].any()


@given(masks, st.integers(1, 3))
def test_a_grown_mask_holds_all_neighbours(mask: np.ndarray, voxels: int) -> None:
    expected = ndimage.binary_dilation(mask, np.ones((3, 3, 3)), iterations=voxels)
    np.testing.assert_array_equal(grown(mask, voxels), expected)


def test_dust_goes_and_every_large_piece_stays() -> None:
    mask = np.zeros((30, 30, 30), dtype=bool)
    mask[2:12, 2:12, 2:12] = mask[20:24, 20:24, 20:24] = True
    dusty = mask.copy()
    dusty[28, 2, 2] = dusty[15, 15, 15:19] = True
    np.testing.assert_array_equal(without_dust(dusty), mask)
    np.testing.assert_array_equal(without_dust(np.zeros_like(mask)), np.zeros_like(mask))


@given(masks, st.floats(0.5, 6))
def test_a_soft_edge_falls_outside_only_and_ends_after_its_width(mask: np.ndarray, width: float) -> None:
    if not mask.any():
        return
    soft, distance = soft_edge(mask, width), ndimage.distance_transform_edt(~mask)
    assert (soft[mask] == 1).all()
    assert (soft[distance >= width] < 1e-6).all()
    order = np.argsort(distance, axis=None)
    assert (np.diff(soft.ravel()[order]) <= 1e-6).all()


def test_an_edge_without_width_is_the_mask_and_a_negative_one_is_refused() -> None:
    mask = np.eye(4, dtype=bool)[None]
    np.testing.assert_array_equal(soft_edge(mask, 0), mask)
    with pytest.raises(UsageError, match="width"):
        soft_edge(mask, -1)


def resolution_map(shape: tuple[int, int, int] = (40, 36, 44), seed: int = 3) -> np.ndarray:
    """A ball of values, 0 outside."""
    z, y, x = (np.arange(n) - n / 2 for n in shape)
    ball = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2 < 100
    return (np.random.default_rng(seed).uniform(2, 8, shape) * ball).astype(np.float32)


def test_filling_keeps_what_is_there_and_takes_the_nearest_beyond() -> None:
    values = resolution_map()
    filled = fill_outside(values, 5)
    distance = ndimage.distance_transform_edt(values == 0)
    assert np.array_equal(filled[values > 0], values[values > 0])
    assert np.array_equal(filled > 0, distance <= 5)
    inside = np.argwhere(values > 0)
    beyond = np.argwhere((values == 0) & (filled > 0))
    for voxel in beyond[:: len(beyond) // 100]:
        squared = ((inside - voxel) ** 2).sum(axis=1)
        nearest = inside[squared == squared.min()]
        assert filled[tuple(voxel)] in values[tuple(nearest.T)]


def test_filling_in_parts_that_overlap_equals_filling_the_whole() -> None:
    values, reach = resolution_map(), 5
    parts = []
    for start in range(0, values.shape[0], 8):
        low = max(start - reach, 0)
        parts.append(fill_outside(values[low : start + 8 + reach], reach)[start - low : start - low + 8])
    assert np.array_equal(np.concatenate(parts), fill_outside(values, reach))


@pytest.mark.parametrize("value", [0.0, 4.0])
def test_there_is_nothing_to_fill_in_a_map_without_mask_or_molecule(value: float) -> None:
    values = np.full((4, 4, 4), value, dtype=np.float32)
    assert np.array_equal(fill_outside(values), values)
