"""A patch is what the prepared map has there; on its own voxels it is what is stored, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from emres.errors import UsageError
from emres.model.augment import USUAL, Augmentation, placed
from emres.model.cut import CutPlan, cut
from emres.model.patch_source import MapFacts, Source
from emres.model.patch_spec import PatchSpec
from emres.volume.density import Normalisation
from emres.volume.grid import Grid
from emres.volume.one_map_fsc import Levels
from emres.volume.resample import fourier_resample
from emres.volume.spectrum import SHELLS, Spectra
from tests.model.conftest import contract

GRID = Grid((60, 66, 54), (1.06, 1.06, 1.06), (3.0, -4.0, 0.0))
FACTS = MapFacts(Normalisation(0.3, 2.0), Spectra(1.5, (1.0,) * SHELLS))


def source(grid: Grid = GRID, sigma: float = 1.6, **changes: object) -> Source:
    rng = np.random.default_rng(0)
    density = ndimage.gaussian_filter(rng.normal(size=grid.shape), sigma, mode="wrap")
    density = (0.3 + density / density.std()).astype(np.float32)
    z, y, x = np.indices(grid.shape)
    near = ((z - 30) ** 2 + (y - 33) ** 2 + (x - 27) ** 2) < 20**2
    target = np.where(near, 3 + 0.02 * z, 0).astype(np.float32)
    return replace(
        Source("toy", grid, {"map": density}, target, {"map": FACTS}, (2.2, 29.0), 3.2),
        **changes,  # type: ignore[arg-type]
    )


def levels() -> Levels:
    """On a lattice of 6 voxels of 1.5 Å over the toy."""
    values = np.random.default_rng(3).normal(size=(9, 9, 9)).astype(np.float32)
    return Levels(values, (0, 0, 0), 6, 0.25)


def test_all_off_is_what_is_stored_bit_for_bit() -> None:
    toy = source()
    patch = cut(toy, PatchSpec(0, (30.0, 33.0, 27.0)), CutPlan(16, normalise=False))
    box = (slice(22, 38), slice(25, 41), slice(19, 35))
    np.testing.assert_array_equal(patch.density, toy.densities["map"][box])
    np.testing.assert_array_equal(patch.target, toy.target[box])
    np.testing.assert_array_equal(patch.weight, 1)
    normalised = cut(toy, PatchSpec(0, (30.0, 33.0, 27.0)), CutPlan(16))
    np.testing.assert_array_equal(normalised.density, FACTS.normalisation(toy.densities["map"][box]))
    assert {part.dtype for part in patch} == {np.dtype(np.float32)}


def test_the_pattern_of_a_patch_is_that_of_the_map_there() -> None:
    shown, spec = levels(), PatchSpec(0, (30.0, 33.0, 27.0))
    plan = CutPlan(16, voxel_size=1.5)
    corner = [centre * 1.06 / 1.5 - 8 for centre in spec.centre]
    expected = shown.pattern(corner, (16, 16, 16))
    np.testing.assert_allclose(cut(source(), spec, plan, shown).pattern, expected, atol=1e-6)
    turned = cut(source(), replace(spec, turn=7, mirrored=True), plan, shown).pattern
    np.testing.assert_allclose(turned, placed(expected, 7, True), atol=1e-6)
    assert not cut(source(), spec, plan).pattern.any()


def test_on_its_own_voxels_a_map_has_its_pattern_there_too() -> None:
    shown = levels()
    patch = cut(source(), PatchSpec(0, (30.0, 33.0, 27.0)), CutPlan(16, normalise=False), shown)
    np.testing.assert_allclose(patch.pattern, shown.pattern((22, 25, 19), (16, 16, 16)), atol=1e-6)


@pytest.mark.parametrize(("native", "wanted", "most"), [(1.06, 1.5, 0.02), (1.9, 1.5, 0.01), (0.65, 1.5, 0.02)])
def test_a_patch_is_the_same_box_of_the_prepared_map(native: float, wanted: float, most: float) -> None:
    grid = Grid((96, 96, 96), (native,) * 3, (5.0, 0.0, -9.0))
    toy = source(grid, sigma=max(3.2 / 2.5 / native, 1.0))  # a map of some 3.2 Å
    working = grid.resampled(wanted)
    prepared = FACTS.normalisation(fourier_resample(toy.densities["map"], grid, working))
    middle = tuple(n // 2 for n in working.shape)
    centre = tuple(k * wanted / native for k in middle)
    patch = cut(toy, PatchSpec(0, centre), CutPlan(16, voxel_size=wanted))  # type: ignore[arg-type]
    expected = prepared[tuple(slice(k - 8, k + 8) for k in middle)]
    assert (patch.density - expected).std() < most * expected.std()


def test_a_resampled_target_is_linear_between_voxels_that_have_one() -> None:
    toy = source()
    patch = cut(toy, PatchSpec(0, (30.0, 33.0, 27.0)), CutPlan(16, voxel_size=1.5))
    z = 30 + (np.arange(16) - 8) * 1.5 / 1.06
    np.testing.assert_allclose(patch.target[:, 8, 8], 3 + 0.02 * z, rtol=1e-5)
    edge = cut(toy, PatchSpec(0, (30.0, 52.0, 27.0)), CutPlan(16, voxel_size=1.5))
    held = edge.target[edge.target > 0]
    assert 0 < held.size < edge.target.size
    assert (held.min(), held.max()) > (3.0, 3.0)  # never mixed with the zeros outside


def test_what_was_capped_or_has_no_target_or_lies_in_the_margin_does_not_count() -> None:
    toy = source()
    target = toy.target.copy()
    target[30, 33, 27], target[30, 33, 28] = 2.12, 29.5
    patch = cut(replace(toy, target=target), PatchSpec(0, (30.0, 33.0, 27.0)), CutPlan(16, margin=3))
    assert patch.weight[8, 8, 8] == patch.weight[8, 8, 9] == 0
    inner = patch.weight[3:-3, 3:-3, 3:-3]
    assert inner.sum() == 10**3 - 2 == patch.weight.sum()
    outside = cut(toy, PatchSpec(0, (30.0, 62.0, 27.0)), CutPlan(8))
    assert not outside.weight.any()


@pytest.mark.parametrize("voxel_size", [None, 1.5])
def test_beyond_the_faces_there_is_nothing(voxel_size: float | None) -> None:
    plan = CutPlan(16, voxel_size=voxel_size, augmentation=replace(USUAL, mask=0.0))
    patch = cut(source(), PatchSpec(0, (0.0, 33.0, 53.0), seed=1), plan)
    assert not patch.density[:8].any()
    assert not patch.density[:, :, 9:].any()
    assert patch.density[8:, :, :9].all()
    far = cut(source(), PatchSpec(0, (-90.0, 33.0, 27.0), seed=1), plan)
    assert not any(part.any() for part in far)


def test_turning_takes_density_target_and_weight_along() -> None:
    plan, spec = CutPlan(16, voxel_size=1.5, margin=2), PatchSpec(0, (30.0, 44.0, 27.0))
    upright = cut(source(), spec, plan)
    for turn, mirrored in ((5, False), (17, True)):
        turned = cut(source(), replace(spec, turn=turn, mirrored=mirrored), plan)
        for part, other in zip(turned, upright, strict=True):
            np.testing.assert_array_equal(part, placed(other, turn, mirrored))
            assert part.flags.c_contiguous


def test_augmentation_changes_the_density_alone_and_repeats() -> None:
    spec, plan = PatchSpec(0, (30.0, 44.0, 27.0), seed=4), CutPlan(16, voxel_size=1.5, augmentation=USUAL)
    plain, varied, again = (cut(source(), spec, each) for each in (CutPlan(16, voxel_size=1.5), plan, plan))
    assert not np.array_equal(plain.density, varied.density)
    for part, other in zip(varied, again, strict=True):
        np.testing.assert_array_equal(part, other)
    # What is varied is cut with its context: some processors add the same terms of a wider product in another order.
    np.testing.assert_array_max_ulp(plain.target, varied.target, maxulp=4)
    np.testing.assert_array_equal(plain.weight, varied.weight)


def cubes() -> Source:
    """Eight cubes of 8^3, each of one value."""
    grid = Grid((16, 16, 16), (1.3, 1.3, 1.3))
    number = np.arange(1, 9, dtype=np.float32).reshape(2, 2, 2)
    values = np.kron(number, np.ones((8, 8, 8), dtype=np.float32))
    return Source("cubes", grid, {"map": values}, values, {"map": FACTS}, lattice=8)


@pytest.mark.parametrize("augmentation", [Augmentation(), replace(USUAL, rotations=False, mask=0.0)])
def test_a_cube_of_a_lattice_comes_whole_alone_and_on_its_own_voxels(augmentation: Augmentation) -> None:
    plan = CutPlan(12, voxel_size=3.0, augmentation=augmentation)
    assert plan.voxel_sizes(cubes().grid, 8) == (1.3, 1.3, 1.3)
    patch = cut(cubes(), PatchSpec(0, (4.0, 12.0, 4.0), seed=2), plan)
    cube = (slice(2, 10),) * 3
    assert (patch.target[cube] == 3).all()
    assert patch.weight.sum() == patch.weight[cube].sum() == 8**3
    outside = np.ones((12, 12, 12), dtype=bool)
    outside[cube] = False
    assert not patch.density[outside].any()
    assert patch.density[cube].all()
    with pytest.raises(UsageError, match="cubes of cubes are larger"):
        cut(cubes(), PatchSpec(0, (4.0, 4.0, 4.0)), CutPlan(7))


def test_the_working_grid_is_the_one_of_the_contract() -> None:
    for size in np.geomspace(0.4, 40, 60):
        plan = CutPlan(voxel_size=1.5, octaves=2, steps=2)
        assert plan.working_voxel_size(size) == contract(voxel_size=1.5, octaves=2, steps=2).working_voxel_size(size)


@pytest.mark.parametrize(
    "wrong", [{"side": 0}, {"side": 8, "margin": 4}, {"margin": -1}, {"voxel_size": 0.0}, {"voxel_size": float("nan")}]
)
def test_patches_that_cannot_be_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        CutPlan(**wrong)


def test_a_density_that_is_not_there_names_the_entry() -> None:
    with pytest.raises(UsageError, match="toy has no such density: got average"):
        cut(source(), PatchSpec(0, (30.0, 33.0, 27.0), "average"), CutPlan())
