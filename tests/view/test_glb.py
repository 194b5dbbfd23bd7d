from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh

from emres.view.glb import linear, write_glb
from emres.view.palette import palette_for
from emres.view.surface import surface
from tests.view.test_surface import CENTRE, RADIUS, ball, resolution_map

FOUND = surface(ball(), 0.0, resolution_map(RADIUS, 0.0))
PALETTE = palette_for(FOUND.resolution)


def header_of(path: Path) -> dict:
    """The JSON of a GLB file, read from the bytes as its specification tells."""
    data = path.read_bytes()
    magic, version, length, size, kind = struct.unpack_from("<4sIII4s", data)
    assert (magic, version, length, kind) == (b"glTF", 2, len(data), b"JSON")
    return json.loads(data[20 : 20 + size])


def colours_of(mesh: trimesh.Trimesh) -> np.ndarray:
    """Beside a material trimesh keeps the colours of the vertices as an attribute."""
    return mesh.visual.vertex_attributes["color"][:, :3].astype(int)


def test_a_reader_finds_the_surface_in_angstrom_with_its_colours(tmp_path: Path) -> None:
    path = write_glb(tmp_path / "a.glb", FOUND, PALETTE, name="EMD-1")
    scene = trimesh.load(path)
    mesh = scene.geometry["EMD-1"]
    assert mesh.faces.shape == FOUND.faces.shape
    np.testing.assert_allclose(mesh.vertices, FOUND.vertices[:, ::-1], atol=1e-4)
    np.testing.assert_allclose(mesh.extents, 2 * RADIUS, atol=0.2)
    np.testing.assert_allclose(mesh.bounds.mean(axis=0), CENTRE[::-1], atol=0.2)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01), (
        "outside is where faces are counter-clockwise"
    )
    expected = np.round(255 * linear(PALETTE(FOUND.resolution)))
    np.testing.assert_array_equal(colours_of(mesh), expected)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.glb"]


def test_the_file_tells_its_unit_its_scale_and_a_matt_material(tmp_path: Path) -> None:
    tree = header_of(write_glb(tmp_path / "a.glb", FOUND, PALETTE))
    [primitive] = tree["meshes"][0]["primitives"]
    assert tree["materials"][primitive["material"]]["pbrMetallicRoughness"]["metallicFactor"] == 0
    assert {"POSITION", "NORMAL", "COLOR_0"} <= set(primitive["attributes"])
    told = json.dumps(tree)
    assert '"unit": "angstrom"' in told
    assert PALETTE.to_json()["stops"][0][1] in told


def test_what_is_not_determined_is_gray(tmp_path: Path) -> None:
    bare = surface(ball(), 0.0)
    mesh = trimesh.load(write_glb(tmp_path / "a.glb", bare, PALETTE)).geometry["map"]
    assert np.ptp(colours_of(mesh), axis=1).max() == 0


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        write_glb(tmp_path / "missing" / "a.glb", FOUND, PALETTE)
    assert not list(tmp_path.iterdir())
