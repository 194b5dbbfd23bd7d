"""Files of cubes: what is written comes back, and what is no file of cubes is told in one sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from emres.archive.cube_file import NO_SIGNAL, open_cubes, write_cubes
from emres.errors import EmresError, MapError, StoreError, UsageError

SHAPE = (5, 16, 16, 16)


def cubes(count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    target = rng.uniform(2, 9, (count, 16, 16, 16)).astype(np.float32)
    target[:, :4] = 0
    return rng.uniform(size=(count, 16, 16, 16)).astype(np.float32), target


def file_of(path: Path, **data: object) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            file[name] = values
    return path


def test_cubes_come_back_and_no_resolution_is_100_in_the_file(tmp_path: Path) -> None:
    density, target = cubes()
    with write_cubes(tmp_path / "c.h5") as writer:
        writer.add(density[:2], target[:2])
        writer.add(density[2:], target[2:])
    with h5py.File(tmp_path / "c.h5") as file:
        assert (file["target"][:, :4] == NO_SIGNAL).all()
        assert file["map"].shape == SHAPE
    with open_cubes(tmp_path / "c.h5") as found:
        assert (found.count, found.side) == (5, 16)
        for got, expected in zip(found.read(1, 4), (density[1:4], target[1:4]), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_the_same_cubes_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        with write_cubes(tmp_path / name) as writer:
            writer.add(*cubes())
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize("shape", [(5, 1, 16, 16, 16), (5, 16, 16, 16, 1)])
def test_an_axis_of_one_channel_is_no_matter(tmp_path: Path, shape: tuple[int, ...]) -> None:
    density, target = cubes()
    path = file_of(tmp_path / "c.h5", map=density.reshape(shape).astype(np.float64), target=target.reshape(shape))
    with open_cubes(path) as found:
        np.testing.assert_array_equal(found.read(0, 5)[0], density)


def linked(path: Path) -> Path:
    other = file_of(path.with_name("other.h5"), map=np.ones(SHAPE), target=np.ones(SHAPE))
    with h5py.File(path, "w") as file:
        file["map"] = h5py.ExternalLink(other.name, "/map")
        file["target"] = np.ones(SHAPE)
    return path


def virtual(path: Path) -> Path:
    other = file_of(path.with_name("other.h5"), map=np.ones(SHAPE))
    layout = h5py.VirtualLayout(SHAPE, "f8")
    layout[:] = h5py.VirtualSource(other, "map", SHAPE)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("map", layout)
        file["target"] = np.ones(SHAPE)
    return path


def external(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("map", SHAPE, "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
        file["target"] = np.ones(SHAPE)
    return path


def truncated(path: Path) -> Path:
    whole = file_of(path, map=np.ones(SHAPE), target=np.ones(SHAPE)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def no_hdf5(path: Path) -> Path:
    path.write_text("hello")
    return path


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path, "there is no file"),
        (no_hdf5, "cannot be read as HDF5"),
        (truncated, "cannot be read as HDF5"),
        (linked, "is a link"),
        (virtual, "lies in other files"),
        (external, "lies in other files"),
        (lambda path: file_of(path, map=np.ones(SHAPE)), "no data set target"),
        (lambda path: file_of(path, map=np.ones(SHAPE), target=np.ones((4, 16, 16, 16))), "every cube a target"),
        (lambda path: file_of(path, map=np.ones((5, 16, 8, 16)), target=np.ones(SHAPE)), "holds no cubes"),
        (lambda path: file_of(path, map=np.ones(7), target=np.ones(7)), "holds no cubes"),
        (lambda path: file_of(path, map=np.ones((0, 16, 16, 16)), target=np.ones((0, 16, 16, 16))), "is empty"),
        (lambda path: file_of(path, map=np.full(SHAPE, b"x"), target=np.ones(SHAPE)), "holds no cubes"),
    ],
)
def test_what_is_no_file_of_cubes_is_told(tmp_path: Path, make, told: str) -> None:
    with pytest.raises(MapError, match=told), open_cubes(make(tmp_path / "c.h5")):
        pass


@pytest.mark.parametrize(("name", "value"), [("map", np.nan), ("target", -1.0), ("target", np.nan)])
def test_a_value_that_cannot_be_is_told_with_its_cube(tmp_path: Path, name: str, value: float) -> None:
    data = dict(zip(("map", "target"), cubes(), strict=True))
    data[name][3, 1, 2, 3] = value
    with open_cubes(file_of(tmp_path / "c.h5", **data)) as found:
        found.read(0, 3)
        with pytest.raises(MapError, match=f"the {name} of .* in cube 3"):
            found.read(2, 5)


def test_a_file_that_ends_within_its_cubes_is_told(tmp_path: Path) -> None:
    with write_cubes(tmp_path / "c.h5") as writer:
        writer.add(*cubes(64))
    whole = bytearray((tmp_path / "c.h5").read_bytes())
    whole[len(whole) // 4 : len(whole) // 2] = bytes(len(whole) // 2 - len(whole) // 4)
    (tmp_path / "c.h5").write_bytes(whole)
    with pytest.raises(EmresError, match=r"c\.h5"), open_cubes(tmp_path / "c.h5") as found:
        found.read(0, 64)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    density, target = cubes()
    with pytest.raises(TypeError), write_cubes(tmp_path / "c.h5") as writer:
        writer.add(density, target[:, :8])  # once the densities are written
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "c.h5").write_text("mine")
    with pytest.raises(UsageError, match="exists already"), write_cubes(tmp_path / "c.h5"):
        pass
    with pytest.raises(StoreError, match="cannot be written"), write_cubes(tmp_path / "c.h5" / "d.h5"):
        pass
    assert (tmp_path / "c.h5").read_text() == "mine"


def test_without_h5py_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match=r"pip install 'emres\[hdf5\]'"), open_cubes(tmp_path / "c.h5"):
        pass
