from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from emres.errors import MapError, UsageError
from emres.view import slices
from emres.view.slices import slice_picture
from emres.volume.grid import Grid, make_volume


def pair(shape=(40, 44, 48), voxel_size=(1.5, 1.5, 1.5), centre=None, radius=0.3):
    """A map of noise, and a resolution of 3 Å in one half of a ball and 6 Å in the other."""
    grid = Grid(shape, voxel_size, origin=(-20.0, 5.0, 100.0))
    centre = centre or tuple(n / 2 for n in shape)
    axes = np.meshgrid(*(np.arange(n) - c for n, c in zip(shape, centre, strict=True)), indexing="ij")
    ball = np.sqrt(sum((axis / (radius * n)) ** 2 for axis, n in zip(axes, shape, strict=True))) < 1
    density = np.random.default_rng(2).normal(size=shape).astype(np.float32) + 3 * ball
    resolution = np.where(ball, np.where(axes[2] < 0, 3.0, 6.0), 0).astype(np.float32)
    return make_volume(density, grid), make_volume(resolution, grid, kind="local_resolution/test@1")


def saturation(picture: np.ndarray) -> np.ndarray:
    return np.ptp(picture[..., :3], axis=-1)


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[slices._Cut, np.ndarray]]:
    """Every slice that is drawn, with its colours."""
    seen: list[tuple[slices._Cut, np.ndarray]] = []
    draw = slices._draw_slice
    monkeypatch.setattr(
        slices,
        "_draw_slice",
        lambda axes, cut, colours, grid: (seen.append((cut, colours)), draw(axes, cut, colours, grid)),
    )
    return seen


def test_a_picture_is_drawn_without_a_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    path = slice_picture(*pair(), tmp_path / "a.png", title="a ball")
    picture = imread(path)
    assert picture.shape[1] > 2 * picture.shape[0] > 400
    assert 0.05 < (saturation(picture) > 0.2).mean() < 0.6
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_colour_lies_inside_the_mask_only_and_tells_fine_from_coarse(tmp_path: Path, painted: list) -> None:
    slice_picture(*pair(), tmp_path / "a.png")
    assert [cut.normal for cut, _ in painted] == ["z", "y", "x"]
    for cut, colours in painted:
        coloured = saturation(colours) > 1e-6
        assert np.array_equal(coloured, cut.resolution > 0)
        red, _, blue = np.moveaxis(colours, -1, 0)
        assert (blue > red)[cut.resolution == 3].all()
        assert (red > blue)[cut.resolution == 6].all()


def test_slices_pass_through_the_molecule_wherever_it_lies_and_are_cropped_to_it(tmp_path: Path, painted: list) -> None:
    volume, resolution = pair((60, 60, 60), centre=(44, 15, 30), radius=0.15)
    slice_picture(volume, resolution, tmp_path / "a.png")
    expected = {dim: float(volume.coords[dim][k]) for dim, k in zip("zyx", (44, 15, 30), strict=True)}
    for cut, _ in painted:
        assert cut.position == pytest.approx(expected[cut.normal], abs=1.5)
        assert max(cut.density.shape) < 25
        assert (cut.resolution > 0).mean() > 0.4


@pytest.mark.parametrize("shape", [(1, 30, 40), (40, 3, 30), (37, 50, 1), (2, 2, 2), (5, 200, 31)])
def test_odd_and_thin_maps_are_drawn(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    grid = Grid(shape, (2.0, 1.0, 1.3))
    values = np.random.default_rng(4).uniform(3, 7, size=shape).astype(np.float32)
    path = slice_picture(make_volume(values, grid), make_volume(values, grid), tmp_path / "thin.png")
    assert (saturation(imread(path)) > 0.2).any()


def test_a_constant_resolution_has_a_colour_bar_too(tmp_path: Path) -> None:
    volume, resolution = pair()
    slice_picture(volume, resolution.where(resolution == 0, 4.0), tmp_path / "a.png", reported=4.2)
    assert (saturation(imread(tmp_path / "a.png")) > 0.2).any()


def test_only_three_planes_of_a_lazy_map_are_read(tmp_path: Path) -> None:
    import dask.array as da

    read: list[int] = []

    def counted(block: np.ndarray) -> np.ndarray:
        read.append(block.size)
        return block

    volume, resolution = pair((64, 64, 64))
    lazy = volume.copy(
        data=da.from_array(volume.values, chunks=8).map_blocks(counted, dtype="f4", meta=np.empty((0,) * 3))
    )
    overview = make_volume(resolution.values[::2, ::2, ::2], Grid((32,) * 3, (3.0,) * 3, (-20.0, 5.0, 100.0)))
    slice_picture(lazy, resolution, tmp_path / "a.png", overview=overview)
    assert 0 < sum(read) <= 3 * 8 * 64 * 64


def test_what_cannot_be_drawn_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    volume, resolution = pair()
    with pytest.raises(MapError, match="no resolved voxel"):
        slice_picture(volume, resolution * 0, tmp_path / "a.png")
    with pytest.raises(UsageError, match="different grids"):
        slice_picture(volume, resolution[1:], tmp_path / "a.png")
    with pytest.raises(UsageError, match="palette"):
        slice_picture(volume, resolution, tmp_path / "a.png", palette="rainbow-of-my-dreams")
    with pytest.raises(OSError):
        slice_picture(volume, resolution, tmp_path / "missing" / "a.png")
    assert not list(tmp_path.iterdir())
