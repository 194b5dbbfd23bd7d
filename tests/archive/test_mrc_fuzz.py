"""Thousands of damaged maps: each reads, and can be written again in its place, or raises MapError. Nothing else.

What is damaged: every header word with nasty values, header bytes, lengths, gzip and bzip2 bodies, bombs.
"""

from __future__ import annotations

import bz2
import gzip
import json
import resource
import struct
import time
import warnings
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from emres.archive.mrc import CellWarning, open_map, read_mrc, write_mrc
from emres.errors import MapError
from emres.volume.grid import grid_of
from tests.archive.mrc_bytes import noise, raw_map

SECONDS_PER_FILE = 5
MEMORY_KIB = 200 * 1024

BASES = {
    "float32": raw_map(noise((6, 5, 4)), (1.0, 1.5, 2.0), nstart=(1, 2, 3), labels=["a label"]),
    "int16 big-endian": raw_map(
        noise((4, 6, 5), "i2"), axes=(3, 1, 2), order=">", origin=(5, -5, 7), extended=b"\7" * 80
    ),
    "float16": raw_map(noise((5, 4, 7), "f2"), axes=(2, 1, 3)),
}
INTEGERS = [0, 1, -1, 2, 3, 4, 12, 101, 255, 256, 401, 65535, 65536, 1146047817, 2**24, 2**31 - 1, -(2**31)]
FLOATS = [0.0, -1.0, 1e-40, 1e-3, 120.0, 1e9, 3e38, float("inf"), float("-inf"), float("nan")]


def nasty_words(raw):
    """Put every nasty value into every header word."""
    order = ">" if raw[0] == 0 else "<"
    values = [struct.pack(f"{order}i", n) for n in INTEGERS] + [struct.pack(f"{order}f", v) for v in FLOATS]
    for offset in range(0, 224, 4):
        for value in values:
            yield raw[:offset] + value + raw[offset + 4 :]


def flipped(raw, rng, first=0, last=None, most=4):
    """Flip a few bits between two offsets, for ever."""
    last = len(raw) if last is None else last
    while True:
        broken = bytearray(raw)
        for offset in rng.integers(first, last, rng.integers(1, most + 1)):
            broken[offset] ^= 1 << rng.integers(8)
        yield bytes(broken)


def cut(raw, rng):
    """Cut anywhere, for ever."""
    while True:
        yield raw[: rng.integers(len(raw))]


def lengthened(raw, rng):
    """Append what does not belong there, for ever."""
    while True:
        tail = bytes(rng.integers(2000)) if rng.integers(2) else rng.bytes(rng.integers(1, 2000))
        yield raw + tail


def spliced(raw, rng):
    """Overwrite a stretch with other bytes of the file, for ever."""
    while True:
        length = int(rng.integers(1, min(200, len(raw) // 2)))
        source, target = rng.integers(len(raw) - length, size=2)
        yield raw[:target] + raw[source : source + length] + raw[target + length :]


def bombs(pack):
    """Compress a little header and a lot of nothing, promised or not."""
    for n in (10, 200, 3000, 40_000, 65_535):
        header = raw_map(np.zeros((6, 5, 4), "f4"), nx=n, ny=n, nz=n, mx=n, my=n, mz=n, cell_x=1.0 * n)[:1024]
        yield pack(header + bytes(3_000_000))
        yield pack(header)


def damaged_files(kind, raw, rng):
    gz, bz = gzip.compress(raw, mtime=0), bz2.compress(raw)
    yield from {
        "words": lambda: nasty_words(raw),
        "header bits": lambda: islice(flipped(raw, rng, 0, 224), 250),
        "any bits": lambda: islice(flipped(raw, rng, most=40), 100),
        "lengths": lambda: [*islice(cut(raw, rng), 60), *islice(lengthened(raw, rng), 60)],
        "splices": lambda: islice(spliced(raw, rng), 100),
        "gzip bodies": lambda: [*islice(flipped(gz, rng), 250), *islice(spliced(gz, rng), 80)],
        "gzip lengths": lambda: [*islice(cut(gz, rng), 80), *islice(lengthened(gz, rng), 60)],
        "bzip2 bodies": lambda: [*islice(flipped(bz, rng), 120), *islice(cut(bz, rng), 60)],
        "bombs": lambda: [*bombs(gzip.compress), *bombs(bz2.compress)],
    }[kind]()


def outcome(path, out):
    """Read a map and, if it reads, check that what came out is sound; return how it went."""
    try:
        volume = read_mrc(path)
    except MapError:
        return "refused"
    assert np.isfinite(volume.values).all()
    json.dumps(volume.attrs, allow_nan=False)
    again = read_mrc(write_mrc(out, volume, overwrite=True))
    assert grid_of(again).matches(grid_of(volume), tolerance=0.05)
    np.testing.assert_array_equal(again.values, volume.values)
    return "read"


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    ("kind", "outcomes"),
    [
        ("words", {"read", "refused"}),
        ("header bits", {"read", "refused"}),
        ("any bits", {"read", "refused"}),
        ("lengths", {"read", "refused"}),
        ("splices", {"read", "refused"}),
        ("gzip bodies", {"refused"}),
        ("gzip lengths", {"read", "refused"}),
        ("bzip2 bodies", {"refused"}),
        ("bombs", {"refused"}),
    ],
)
def test_a_damaged_map_reads_or_is_refused(kind, outcomes, base, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: None)
    path, out = tmp_path / "damaged.map", tmp_path / "out.map"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen = Counter()
    rng = np.random.default_rng([len(kind), len(base)])
    for number, raw in enumerate(damaged_files(kind, BASES[base], rng)):
        path.write_bytes(raw)
        started = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", CellWarning)
            try:
                seen[outcome(path, out)] += 1
            except Exception as error:
                error.add_note(f"damaged file {number} of {kind!r}, base {base!r}")
                raise
        assert time.monotonic() - started < SECONDS_PER_FILE
    assert set(seen) >= outcomes, seen
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY_KIB


def test_it_is_thousands_of_files():
    kinds = ("words", "header bits", "any bits", "lengths", "splices", "gzip bodies", "gzip lengths", "bzip2 bodies")
    rng = np.random.default_rng(0)
    assert sum(1 for raw in BASES.values() for kind in kinds for _ in damaged_files(kind, raw, rng)) > 2000


@pytest.mark.parametrize("base", BASES)
def test_the_undamaged_maps_read(base, tmp_path):
    path = tmp_path / "whole.map"
    path.write_bytes(BASES[base])
    assert outcome(path, tmp_path / "out.map") == "read"
    with open_map(path) as reader:
        assert reader.grid.voxels == 120 if base != "float16" else 140
