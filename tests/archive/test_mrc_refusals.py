"""What is no usable map is refused in one sentence that says what to do."""

from __future__ import annotations

import bz2
import gzip
import os
import time
import tracemalloc

import numpy as np
import pytest

from emres.archive.mrc import open_map, read_mrc
from emres.errors import MapError
from tests.archive.mrc_bytes import noise, raw_map

DENSITY = noise((4, 5, 6))
GOOD = raw_map(DENSITY)
BIG = raw_map(noise((40, 50, 60)))


def with_voxels(value, *indices):
    density = DENSITY.copy()
    for index in indices:
        density[index] = value
    return density


REFUSED = {
    "empty": (b"", "is empty: got 0 bytes"),
    "html": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 40, "got an HTML or XML page"),
    "short html": (b"\n <html>\n404", "got an HTML or XML page"),
    "gzipped html": (gzip.compress(b"<html>404</html>" * 100), "got an HTML or XML page"),
    "zip": (b"PK\x03\x04" + bytes(2000), "got a zip archive"),
    "text": (b"EMD-1234 is a map of a ribosome" * 100, "not an MRC/CCP4 map"),
    "zeros": (bytes(4096), "not an MRC/CCP4 map: got 0 x 0 x 0"),
    "half a header": (GOOD[:500], "got 500 bytes of content, expected a header of 1024"),
    "cut plain": (GOOD[:-1], "does not hold what its header says: got 1503 bytes, expected 1504"),
    "too long": (GOOD + bytes(1024), "got 2528 bytes, expected 1504"),
    "not padding": (GOOD + b"x", "goes on after its last voxel"),
    "gz too long": (gzip.compress(GOOD + bytes(1024)), "goes on after its last voxel"),
    "gz cut inside": (gzip.compress(GOOD[:-4]), "got 1500 bytes, expected 1504"),
    "bz2 cut inside": (bz2.compress(GOOD[:-4]), "got 1500 bytes, expected 1504"),
    "gz cut short": (gzip.compress(BIG)[:-9], "cut short or corrupt.*whole gzip file"),
    "gz without its end": (gzip.compress(BIG)[:-8], "cut short or corrupt"),
    "gz wrong checksum": (gzip.compress(BIG)[:-8] + b"\1\2\3\4" + gzip.compress(BIG)[-4:], "cut short or corrupt"),
    "gz with garbage": (gzip.compress(BIG) + b"garbage", "cut short or corrupt"),
    "only a gz header": (gzip.compress(GOOD)[:10], "cut short or corrupt"),
    "bz2 cut short": (bz2.compress(BIG)[:-9], "cut short or corrupt.*whole bzip2 file"),
    "complex": (raw_map(DENSITY, mode=4), r"mode 4, complex float32.*save it as float32"),
    "complex int": (raw_map(DENSITY, mode=3), r"mode 3, complex int16"),
    "4 bit": (raw_map(DENSITY, mode=101), r"mode 101, 4-bit"),
    "unknown mode": (raw_map(DENSITY, mode=77), r"mode 77, unknown"),
    "image": (raw_map(noise((1, 50, 60))), "is an image, not a volume"),
    "image stack": (raw_map(DENSITY, ispg=0, mz=1), "is a stack of images"),
    "volume stack": (raw_map(DENSITY, ispg=401, mz=2), "is a stack of volumes"),
    "axes 1 1 2": (raw_map(DENSITY, maps=1), r"impossible axis order: got mapc, mapr, maps = \(1, 2, 1\)"),
    "axes 0 1 2": (raw_map(DENSITY, mapc=0, mapr=1, maps=2), "impossible axis order"),
    "negative nsymbt": (raw_map(DENSITY, nsymbt=-80), "-80 bytes of extended header"),
    "huge nsymbt": (raw_map(DENSITY, nsymbt=2**31 - 1), "does not hold what its header says"),
    "no voxel size": (raw_map(DENSITY, cell_x=0.0), r"no usable voxel size: got 1, 1, 0 Å.*pass --voxel-size"),
    "no sampling": (raw_map(DENSITY, mz=0), r"no usable voxel size: got 0, 1, 1"),
    "nan voxel size": (raw_map(DENSITY, cell_y=float("nan")), r"no usable voxel size: got 1, nan, 1"),
    "tiny voxel size": (raw_map(DENSITY, (1e-3,) * 3), "no usable voxel size"),
    "huge voxel size": (raw_map(DENSITY, (1e3,) * 3), "no usable voxel size"),
    "endless origin": (raw_map(DENSITY, origin_x=float("inf")), "absurd origin"),
    "absurd origin": (raw_map(DENSITY, origin_z=-1e8), "absurd origin"),
    "nan": (raw_map(with_voxels(np.nan, (1, 2, 3), (3, 0, 0))), r"2 NaN or Inf, the first at \(1, 2, 3\)"),
    "inf": (raw_map(with_voxels(-np.inf, (3, 4, 5)), axes=(2, 3, 1)), r"1 NaN or Inf, the first at \(3, 4, 5\)"),
    "half inf": (raw_map(with_voxels(np.inf, (0, 1, 0)).astype("f2"), order=">"), r"the first at \(0, 1, 0\)"),
}


@pytest.mark.parametrize(("raw", "sentence"), REFUSED.values(), ids=REFUSED)
def test_refused(raw, sentence, tmp_path):
    path = tmp_path / "given.map"
    path.write_bytes(raw)
    with pytest.raises(MapError, match=sentence) as refusal:
        read_mrc(path)
    assert str(path) in str(refusal.value)
    assert refusal.value.cure


def test_huge_but_finite_values_are_not_taken_for_infinite(tmp_path):
    path = tmp_path / "given.map"
    path.write_bytes(raw_map(np.full((4, 5, 6), 3e38, "f4")))
    assert float(read_mrc(path).max()) == np.float32(3e38)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, sentence in {
        tmp_path: "got a directory",
        tmp_path / "missing.map": "there is no file",
        tmp_path / "pipe": "a device or pipe",
        tmp_path / "missing" / "a.map": "there is no file",
        "a\0b.map": "cannot be opened",
        "x" * 5000: "cannot be opened",
    }.items():
        with pytest.raises(MapError, match=sentence):
            open_map(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_permission_denied(tmp_path):
    path = tmp_path / "given.map"
    path.write_bytes(GOOD)
    path.chmod(0)
    with pytest.raises(MapError, match="may not be read"):
        open_map(path)


def test_permission_denied_is_told(tmp_path, monkeypatch):
    def denied(*_):
        raise PermissionError

    path = tmp_path / "given.map"
    path.write_bytes(GOOD)
    monkeypatch.setattr("pathlib.Path.open", denied)
    with pytest.raises(MapError, match="may not be read"):
        open_map(path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
@pytest.mark.parametrize("size", [4000, 60_000, 2**31 - 1])
def test_a_lying_header_costs_neither_time_nor_memory(pack, size, tmp_path):
    path = tmp_path / "given.map"
    path.write_bytes(pack(raw_map(DENSITY, nx=size, ny=size, nz=4, mx=size, my=size, cell_x=1e4, cell_y=1e4)))
    started = time.monotonic()
    with pytest.raises(MapError):
        list(open_map(path, 1.0).slabs())
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_impossible_promise_is_refused_before_anything_is_read(pack, tmp_path):
    path = tmp_path / "given.map"
    path.write_bytes(pack(raw_map(DENSITY, nx=4000, ny=4000, mx=4000, my=4000, cell_x=4e3, cell_y=4e3)))
    with pytest.raises(MapError, match=r"does not hold what its header says.*expected 256001024"):
        open_map(path)


def test_the_first_voxel_that_is_not_finite_is_named_wherever_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("emres.archive.mrc.PIECE_BYTES", 1000)
    density = noise((20, 10, 9))
    density[13, 4, 2] = density[17] = np.nan
    path = tmp_path / "given.map"
    path.write_bytes(raw_map(density))
    with pytest.raises(MapError, match=r"91 NaN or Inf, the first at \(13, 4, 2\)"):
        list(open_map(path).slabs(8))


def test_a_bomb_is_read_no_further_than_its_header_says(tmp_path):
    path = tmp_path / "bomb.map.gz"
    path.write_bytes(gzip.compress(GOOD + bytes(200_000_000)))
    tracemalloc.start()
    with pytest.raises(MapError, match="goes on after its last voxel"):
        read_mrc(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
