"""Maps go through the door unchanged, and stay where they are in space."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import time
import warnings
from itertools import permutations
from pathlib import Path

import gemmi
import mrcfile
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emres.archive.mrc import CellWarning, MapHeader, open_map, read_mrc, write_mrc
from emres.errors import MapError, StoreError, UsageError
from emres.volume.grid import Grid, grid_of, make_volume
from tests.archive.mrc_bytes import MODE, noise, raw_map

MAPS = Path(__file__).parents[2] / "../shared/data/maps"
needs_maps = pytest.mark.skipif(not MAPS.is_dir(), reason="the real maps are not here")
properties = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

AXES = list(permutations((1, 2, 3)))
PACK = {"plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}
xyz = st.tuples


@st.composite
def placed_maps(draw):
    """Draw a map's density (z, y, x) and how its file says where it lies."""
    density = noise(draw(st.tuples(*[st.integers(2, 7)] * 3)), draw(st.sampled_from(sorted(MODE))))
    start = tuple(draw(st.integers(-20, 20)) for _ in range(3))
    by_origin = draw(st.booleans())
    return density, {
        "voxel_size": tuple(draw(st.sampled_from([0.5, 1.25, 3.0])) for _ in range(3)),
        "axes": draw(st.sampled_from(AXES)),
        "origin": tuple(value + 0.5 for value in start) if by_origin else (0, 0, 0),
        "nstart": (5, -3, 2) if by_origin else start,
        "order": draw(st.sampled_from("<>")),
        "extended": b"\x01" * draw(st.sampled_from([0, 80])),
    }


def expected_grid(density, where):
    voxel_size, origin = where["voxel_size"], where["origin"]
    start = origin if any(origin) else [n * size for n, size in zip(where["nstart"], voxel_size, strict=True)]
    return Grid(density.shape, voxel_size[::-1], tuple(float(value) for value in start[::-1]))


@pytest.fixture
def map_file(tmp_path):
    """Write bytes to a file that is called like a map."""

    def write(raw, name="given.map"):
        path = tmp_path / name
        path.write_bytes(raw)
        return path

    return write


# Reading


@properties
@given(placed=placed_maps(), packing=st.sampled_from(sorted(PACK)))
def test_any_map_is_read_as_z_y_x_where_it_lies(placed, packing, map_file):
    density, where = placed
    volume = read_mrc(map_file(PACK[packing](raw_map(density, **where))))
    np.testing.assert_array_equal(volume.values, density.astype("f4"))
    assert volume.dtype == np.float32
    assert grid_of(volume).matches(expected_grid(density, where), tolerance=1e-5)


@properties
@given(placed=placed_maps(), thickness=st.integers(1, 9))
def test_slabs_are_the_map_and_start_at_multiples(placed, thickness, map_file):
    density, where = placed
    built = np.full(density.shape, np.nan, "f4")
    with open_map(map_file(raw_map(density, **where))) as reader:
        for axis, start, values in reader.slabs(thickness):
            assert axis == 3 - where["axes"][2]
            assert start % thickness == 0
            index = [slice(None)] * 3
            index[axis] = slice(start, start + thickness)
            built[tuple(index)] = values
    np.testing.assert_array_equal(built, density.astype("f4"))


def test_slabs_of_many_pieces(map_file, monkeypatch):
    monkeypatch.setattr("emres.archive.mrc.PIECE_BYTES", 1000)
    density = noise((21, 9, 11))
    with open_map(map_file(gzip.compress(raw_map(density)))) as reader:
        slabs = [values for _, _, values in reader.slabs(8)]
    assert [len(values) for values in slabs] == [8, 8, 5]
    np.testing.assert_array_equal(np.concatenate(slabs), density)


def test_leaving_early_stops_the_thread(map_file, monkeypatch):
    import threading

    monkeypatch.setattr("emres.archive.mrc.PIECE_BYTES", 1000)
    with open_map(map_file(raw_map(noise((40, 9, 11))))) as reader:
        next(slabs := reader.slabs(8))
        assert any("read-ahead" in thread.name for thread in threading.enumerate())
    assert not any("read-ahead" in thread.name for thread in threading.enumerate())
    del slabs


@pytest.mark.parametrize("stamp", [b"\0\0\0\0", b"DA\0\0", b"\x11\x11\0\0", b"DD\0\0"])
@pytest.mark.parametrize("order", "<>")
def test_the_byte_order_does_not_hang_on_the_stamp(order, stamp, map_file):
    density = noise((4, 5, 6), "i2")
    volume = read_mrc(map_file(raw_map(density, order=order, stamp=stamp)))
    np.testing.assert_array_equal(volume.values, density)


def test_axis_order_0_0_0_means_x_y_z(map_file):
    density = noise((4, 5, 6))
    volume = read_mrc(map_file(raw_map(density, mapc=0, mapr=0, maps=0)))
    np.testing.assert_array_equal(volume.values, density)


@pytest.mark.parametrize(("flags", "meaning"), [(0, "u1"), (1, "i1")])
@pytest.mark.parametrize("order", "<>")
def test_mode_0_is_signed_unless_imod_says_otherwise(flags, meaning, order, map_file):
    density = np.arange(-60, 60, dtype="i1").reshape(4, 5, 6)
    raw = raw_map(density, order=order, imod_stamp=1146047817, imod_flags=flags)
    np.testing.assert_array_equal(read_mrc(map_file(raw)).values, density.view(meaning))
    np.testing.assert_array_equal(read_mrc(map_file(raw_map(density))).values, density)


@pytest.mark.parametrize(
    ("where", "start"),
    [
        ({"origin": (1, 0, 0), "nstart": (9, 9, 9)}, (0, 0, 1)),
        ({"origin": (0, 0, 0), "nstart": (1, 2, 3)}, (6, 4, 2)),
        ({"origin_x": float("nan"), "nstart": (1, 2, 3)}, (6, 4, 2)),
        ({"origin": (0, 0, 0), "nstart": (60, -60, 0)}, (0, -120, 120)),
        ({"origin": (0, 0, 0), "nstart": (61, 0, 0)}, (0, 0, 0)),
    ],
    ids=["origin", "nstart", "nan origin", "far nstart", "nstart never set"],
)
def test_a_map_lies_where_chimerax_shows_it(where, start, tmp_path, map_file):
    volume = read_mrc(map_file(raw_map(noise((4, 5, 6)), (2.0, 2.0, 2.0), **where)))
    assert grid_of(volume).origin == start
    again = read_mrc(write_mrc(tmp_path / "out.map", volume))
    assert grid_of(again).origin == start
    assert again.attrs["mrc_header"]["nstart"] == list(where["nstart"])


def test_the_origin_of_a_map_from_before_2000_is_not_one(map_file):
    raw = bytearray(raw_map(noise((4, 5, 6)), origin=(7, 8, 9), nstart=(1, 1, 1)))
    raw[208:212] = bytes(4)
    assert grid_of(read_mrc(map_file(bytes(raw)))).origin == (1, 1, 1)


def test_a_given_voxel_size_replaces_the_headers(map_file):
    path = map_file(raw_map(noise((4, 5, 6)), nstart=(2, 0, 0), cell_x=0.0, cell_y=0.0, cell_z=0.0, mx=0, my=0, mz=0))
    assert grid_of(read_mrc(path, 1.5)).matches(Grid((4, 5, 6), (1.5, 1.5, 1.5), (0.0, 0.0, 3.0)))
    assert grid_of(read_mrc(path, (1.0, 2.0, 3.0))).voxel_size == pytest.approx((1.0, 2.0, 3.0))
    with pytest.raises(UsageError, match="2 numbers"):
        read_mrc(path, (1.0, 2.0))


def test_padding_of_a_disk_block_is_tolerated(map_file):
    density = noise((4, 5, 6))
    for pack in PACK.values():
        np.testing.assert_array_equal(read_mrc(map_file(pack(raw_map(density) + bytes(512)))).values, density)


def test_several_gzip_members_are_one_map(map_file):
    density, raw = noise((4, 5, 6)), raw_map(noise((4, 5, 6)))
    packed = gzip.compress(raw[:700]) + gzip.compress(raw[700:]) + bytes(100)
    np.testing.assert_array_equal(read_mrc(map_file(packed)).values, density)


def test_without_isal_gzip_reads_and_writes_all_the_same(tmp_path, map_file):
    program = """
import sys
sys.modules["isal"] = None
from emres.archive.mrc import read_mrc, write_mrc
write_mrc(sys.argv[2], read_mrc(sys.argv[1]))
try:
    read_mrc(sys.argv[3])
except Exception as error:
    print(type(error).__name__, error)
"""
    density = noise((4, 5, 6))
    good = map_file(gzip.compress(raw_map(density)))
    bad = map_file(gzip.compress(raw_map(density))[:-100], "bad.map")
    command = [sys.executable, "-c", program, str(good), str(tmp_path / "out.map.gz"), str(bad)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    np.testing.assert_array_equal(read_mrc(tmp_path / "out.map.gz").values, density)
    assert said.startswith("MapError")
    assert "bad.map is cut short or corrupt" in said


@needs_maps
def test_every_real_map_reads_with_the_grid_of_its_table():
    with (MAPS / "maps.tsv").open() as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    assert len(rows) >= 18
    for row in rows:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CellWarning)
            reader = open_map(MAPS / row["file"])
        assert sum(values.size for _, _, values in reader.slabs()) == reader.grid.voxels
        sections_rows_columns = tuple(int(n) for n in row["shape_zyx"].split("x"))
        assert reader.header.shape == sections_rows_columns[::-1], row["file"]
        # The table gives the shape in file order and sizes in x, y, z.
        sizes = [float(size) for size in row["voxel_size_A"].split(",")]
        assert reader.grid.voxel_size == pytest.approx(tuple(sizes[::-1] if len(sizes) == 3 else sizes * 3), rel=1e-3)
        assert reader.header.nstart == tuple(int(n) for n in row["nstart"].split(","))
        origin = tuple(float(value) for value in row["origin"].split(","))
        if any(origin):
            assert reader.grid.origin == pytest.approx(origin[::-1])
        assert reader.dtype == row["dtype"]


@needs_maps
@pytest.mark.parametrize("name", ["emd_3001", "emd_8216", "emd_1155", "emd_1832", "emd_3197", "emd_6824"])
@pytest.mark.filterwarnings("ignore::emres.archive.mrc.CellWarning")
def test_real_maps_are_what_gemmi_reads(name):
    volume = read_mrc(MAPS / f"{name}.map.gz")
    peer = gemmi.read_ccp4_map(str(MAPS / f"{name}.map.gz"))
    columns_rows_sections = np.array(peer.grid, copy=False)
    axes = [peer.header_i32(word) for word in (17, 18, 19)]
    np.testing.assert_array_equal(volume.values, columns_rows_sections.transpose([axes.index(k) for k in (3, 2, 1)]))


@needs_maps
def test_a_skewed_cell_is_read_with_a_warning():
    with pytest.warns(CellWarning, match=r"emd_3001.*94\.3.*treated as orthogonal"):
        open_map(MAPS / "emd_3001.map.gz")


# Writing


@properties
@given(placed=placed_maps())
def test_an_output_lies_on_its_input(placed, tmp_path, map_file):
    density, where = placed
    volume = read_mrc(map_file(raw_map(density, labels=["made by somebody"], **where)))
    again = read_mrc(write_mrc(tmp_path / "out.map", volume, labels=["made by emres"], overwrite=True))
    assert again.equals(volume)
    assert grid_of(again).matches(expected_grid(density, where), tolerance=1e-5)
    header = MapHeader.from_attrs(again.attrs["mrc_header"])
    assert header.axes == (1, 2, 3)
    assert header.nstart == where["nstart"]
    assert header.origin == where["origin"]
    assert header.labels == ("made by somebody", "made by emres")


@pytest.mark.parametrize("axes", AXES)
def test_gemmi_sees_a_marker_at_one_place_before_and_after(axes, tmp_path, map_file):
    density = np.zeros((10, 12, 14), "f4")
    density[3, 5, 7] = 1
    path = map_file(raw_map(density, (1.0, 1.5, 2.0), axes=axes, nstart=(-3, 4, 6)))
    written = write_mrc(tmp_path / "out.map", read_mrc(path))
    position = grid_of(read_mrc(written)).to_angstrom((3, 5, 7))
    assert position == ((3 + 6) * 2.0, (5 + 4) * 1.5, (7 - 3) * 1.0)
    for file in (path, written):
        peer = gemmi.read_ccp4_map(str(file))
        peer.setup(0.0)
        assert peer.grid.interpolate_value(gemmi.Position(*reversed(position))) == pytest.approx(1)


def test_the_header_is_valid_and_its_statistics_are_true(tmp_path, capsys):
    values = noise((130, 20, 30)) + 1000
    path = write_mrc(tmp_path / "out.mrc", make_volume(values, Grid(values.shape, (1.0, 1.5, 2.0), (7.0, 8.0, 9.0))))
    assert mrcfile.validate(path), capsys.readouterr().out
    with mrcfile.open(path) as peer:
        assert [peer.header[k] for k in ("dmin", "dmax")] == [values.min(), values.max()]
        assert float(peer.header.dmean) == pytest.approx(values.mean(dtype="f8"), rel=1e-7)
        assert float(peer.header.rms) == pytest.approx(values.std(dtype="f8"), rel=1e-6)
        assert peer.header.origin.tolist() == (9.0, 8.0, 7.0)
        assert peer.voxel_size.tolist() == (2.0, 1.5, 1.0)
        assert (peer.header.mode, peer.header.ispg, peer.header.nversion) == (2, 1, 20141)
        np.testing.assert_array_equal(peer.data, values)


def test_a_crop_is_placed_by_its_coordinates(tmp_path, map_file):
    volume = read_mrc(map_file(raw_map(noise((8, 9, 10)), (2.0, 2.0, 2.0), nstart=(-4, -4, -4), labels=["whole"])))
    crop = volume.isel(z=slice(2, 6), x=slice(1, 9))
    again = read_mrc(write_mrc(tmp_path / "crop.map", crop))
    assert again.equals(crop)
    assert again.attrs["mrc_header"]["labels"] == ["whole"]


@pytest.mark.parametrize(("given_ispg", "kept"), [(0, 1), (1, 1), (5, 5), (19, 19), (-7, 1), (9999, 1)])
def test_the_space_group_of_a_volume(given_ispg, kept, tmp_path, map_file):
    volume = read_mrc(map_file(raw_map(noise((4, 5, 6)), ispg=given_ispg)))
    with open_map(write_mrc(tmp_path / "out.map", volume)) as reader:
        assert reader.header.ispg == kept


def test_old_labels_give_way_to_ours(tmp_path, map_file):
    volume = read_mrc(map_file(raw_map(noise((4, 5, 6)), labels=[f"old {k}" for k in range(10)])))
    labels = open_map(write_mrc(tmp_path / "out.map", volume, labels=["ours " + "x" * 100, "Ångström"])).header.labels
    assert labels == (*[f"old {k}" for k in range(8)], ("ours " + "x" * 100)[:80], "?ngstr?m")


def test_header_survives_json(map_file):
    header = open_map(map_file(raw_map(noise((4, 5, 6)), (1.1, 1.2, 1.3), labels=["one"], dmin=float("nan")))).header
    assert MapHeader.from_attrs(json.loads(json.dumps(header.to_attrs(), allow_nan=False))) == header


def test_a_lazy_volume_is_written_slab_by_slab(tmp_path):
    import dask.array as da

    computed = []

    def values_of(block):
        computed.append(block.shape)
        return block + 1

    lazy = da.zeros((150, 8, 8), chunks=(64, 8, 8), dtype="f4").map_blocks(values_of, meta=np.zeros((0, 0, 0), "f4"))
    path = write_mrc(tmp_path / "out.map.gz", make_volume(lazy, Grid((150, 8, 8), (1.0, 1.0, 1.0))))
    assert computed == [(64, 8, 8), (64, 8, 8), (22, 8, 8)]
    assert float(read_mrc(path).min()) == 1


def test_gz_output_is_gzip_and_the_same_bytes_each_time(tmp_path):
    volume = make_volume(noise((4, 5, 6)), Grid((4, 5, 6), (1.0, 1.0, 1.0)))
    first = write_mrc(tmp_path / "a.map.gz", volume).read_bytes()
    plain = write_mrc(tmp_path / "a.map", volume).read_bytes()
    assert gzip.decompress(first) == plain
    assert first[4:8] == bytes(4), "gzip's time stamp"
    assert write_mrc(tmp_path / "b.map.gz", volume).read_bytes() == first


def test_nothing_is_overwritten_unless_told(tmp_path):
    volume = make_volume(noise((4, 5, 6)), Grid((4, 5, 6), (1.0, 1.0, 1.0)))
    path = tmp_path / "out.map"
    path.write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        write_mrc(path, volume)
    assert path.read_text() == "precious"
    assert read_mrc(write_mrc(path, volume, overwrite=True)).equals(volume)


@pytest.mark.parametrize("name", ["out.map", "out.map.gz"])
def test_a_failed_write_leaves_nothing(name, tmp_path):
    values = noise((130, 5, 6))
    values[100, 2, 3] = np.nan
    with pytest.raises(MapError, match=r"nan at \(100, 2, 3\)"):
        write_mrc(tmp_path / name, make_volume(values, Grid(values.shape, (1.0, 1.0, 1.0))))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.map", "out.map.gz"])
def test_a_full_disk_is_told_and_leaves_nothing(name, tmp_path):
    volume = make_volume(noise((64, 64, 64)), Grid((64, 64, 64), (1.0, 1.0, 1.0)))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreError, match=r"out\.map.* cannot be written"):
            write_mrc(tmp_path / name, volume)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_is_told_once_and_heard(tmp_path, monkeypatch):
    really, failures = os.fsync, iter([OSError(5, "Input/output error")])

    def fsync(descriptor):  # the system tells of a failure to the first who asks
        for error in failures:
            raise error
        really(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(StoreError, match="Input/output error"):
        write_mrc(tmp_path / "out.map", make_volume(noise((200, 5, 6)), Grid((200, 5, 6), (1.0, 1.0, 1.0))))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path):
    volume = make_volume(noise((4, 5, 6)), Grid((4, 5, 6), (1.0, 1.0, 1.0)))
    with pytest.raises(StoreError, match="cannot be written"):
        write_mrc(tmp_path / "nowhere" / "out.map", volume)


def test_a_killed_write_leaves_no_map_under_the_final_name(tmp_path):
    program = f"""
import numpy as np, time, dask.array as da
from emres.archive.mrc import write_mrc
from emres.volume.grid import Grid, make_volume
def slow(block):
    time.sleep(30 if block.any() else 0)
    return block
lazy = da.concatenate([da.zeros((64, 8, 8), chunks=64, dtype="f4"), da.ones((64, 8, 8), chunks=64, dtype="f4")])
lazy = lazy.map_blocks(slow, meta=np.zeros((0, 0, 0), "f4"))
write_mrc({str(tmp_path / "out.map")!r}, make_volume(lazy, Grid((128, 8, 8), (1.0, 1.0, 1.0))))
"""
    writer = subprocess.Popen([sys.executable, "-c", program])
    limit = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < limit:
        time.sleep(0.05)
    time.sleep(0.2)
    os.kill(writer.pid, signal.SIGKILL)
    assert writer.wait() == -signal.SIGKILL
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
