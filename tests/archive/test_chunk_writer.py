"""Arrays and groups written as files: what Zarr would have written, and reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs.blosc import decompress
from zarr.codecs import BloscCodec

from emres.archive.chunk_writer import ChunkWriter, Compressor, read_attributes, write_coordinate, write_group
from tests.archive.volumes import files_in

DIMS = ("z", "y", "x")


def values_of(shape: tuple[int, int, int]) -> np.ndarray:
    values = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    values[:4, :4, :4] = 0  # a chunk of nothing
    return values


@pytest.mark.parametrize("compressor", [Compressor("lz4", 5), Compressor("zstd", 1)])
@pytest.mark.parametrize("shape", [(4, 4, 4), (8, 8, 8), (9, 5, 3)])
def test_chunks_and_the_array_s_file_are_those_of_zarr(
    tmp_path: Path, shape: tuple[int, int, int], compressor: Compressor
) -> None:
    values = values_of(shape)
    ChunkWriter(tmp_path / "ours", shape, 4, compressor, DIMS).write((0, 0, 0), values)
    codec = BloscCodec(cname=compressor.name, clevel=compressor.level, shuffle="bitshuffle")
    how: dict[str, Any] = {
        "chunks": (4, 4, 4),
        "dtype": "float32",
        "compressors": codec,
        "fill_value": 0,
        "dimension_names": DIMS,
    }
    zarr.create_array(tmp_path / "zarr", shape=shape, zarr_format=3, **how)[:] = values
    ours, theirs = files_in(tmp_path / "ours"), files_in(tmp_path / "zarr")
    assert json.loads(ours.pop("zarr.json")) == json.loads(theirs.pop("zarr.json"))
    # (Not byte by byte: how an old numcodecs shuffles is its own affair.)
    assert {name: decompress(held) for name, held in ours.items()} == {n: decompress(h) for n, h in theirs.items()}
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "ours", mode="r")[:], values)


def test_parts_that_begin_at_chunks_make_the_whole(tmp_path: Path) -> None:
    values = values_of((9, 9, 9))
    writer = ChunkWriter(tmp_path / "a", values.shape, 4, Compressor("lz4", 5), DIMS)
    writer.write((4, 0, 4), values[4:, :, 4:])
    writer.write((0, 0, 0), values[:4])
    found = np.asarray(zarr.open_array(tmp_path / "a", mode="r")[:])
    np.testing.assert_array_equal(found[:4], values[:4])
    np.testing.assert_array_equal(found[4:, :, 4:], values[4:, :, 4:])
    assert not found[4:, :, :4].any()


def test_a_slice_that_is_not_contiguous_is_written_right(tmp_path: Path) -> None:
    values = values_of((6, 6, 6)).T[::-1]
    ChunkWriter(tmp_path / "a", (6, 6, 6), 4, Compressor("zstd", 1), DIMS).write((0, 0, 0), values)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a", mode="r")[:], values)


def test_a_coordinate_is_read_by_zarr(tmp_path: Path) -> None:
    values = np.linspace(-3.5, 7, 17)
    write_coordinate(tmp_path / "z", "z", values)
    found = zarr.open_array(tmp_path / "z", mode="r")
    np.testing.assert_array_equal(found[:], values)
    assert found.attrs["units"] == "angstrom"
    assert found.metadata.to_dict()["dimension_names"] == ("z",)


def test_attributes_of_a_group_come_back_also_through_zarr(tmp_path: Path) -> None:
    write_group(tmp_path / "g")
    assert read_attributes(tmp_path / "g") == {}
    told = {"emres": {"title": "β-galactosidase", "none": None, "sizes": [1.5, 2.0]}}
    write_group(tmp_path / "g", told)
    assert read_attributes(tmp_path / "g") == told == dict(zarr.open_group(tmp_path / "g", mode="r").attrs)
    assert [path.name for path in (tmp_path / "g").iterdir()] == ["zarr.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"zarr_format": 2}', '{"zarr_format": 3, "node_type": "array"}', "\x00{"])
def test_what_is_no_group_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "zarr.json").write_text(text)
    with pytest.raises(ValueError):
        read_attributes(tmp_path)


def test_a_write_that_fails_shows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_group(tmp_path, {"a": 1})
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError):
        write_group(tmp_path, {"a": 2})
    assert read_attributes(tmp_path) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["zarr.json"]
