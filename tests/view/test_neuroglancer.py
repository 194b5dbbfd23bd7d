from __future__ import annotations

import json
import re

import numpy as np
import pytest

from emres.view.neuroglancer import Layer, resolution_shader, viewer_state
from emres.view.palette import palette_for
from emres.volume.grid import Grid

GRID = Grid((70, 96, 33), (1.1, 1.2, 1.3), origin=(-20.0, 5.5, 0.0))
PALETTE = palette_for(np.linspace(3, 7, 500))
MAP, RESULT = (
    Layer("map", "http://127.0.0.1:9/w/map/"),
    Layer("resolution", "http://127.0.0.1:9/w/local_resolution/a@1"),
)


def test_the_state_is_in_angstrom_and_begins_in_the_middle_of_the_map() -> None:
    state = json.loads(json.dumps(viewer_state(MAP, GRID, (0.0, 1.0), RESULT, PALETTE)))
    assert list(state["dimensions"].items()) == [(dim, [1e-10, "m"]) for dim in "xyz"]
    assert state["position"] == pytest.approx([float(np.mean(GRID.coordinates()[dim])) for dim in "xyz"], abs=1e-3)
    assert [layer["source"] for layer in state["layers"]] == [
        "http://127.0.0.1:9/w/map/|zarr3:",
        "http://127.0.0.1:9/w/local_resolution/a@1/|zarr3:",
    ]
    assert state["layers"][0]["shaderControls"]["normalized"]["range"] == [0.0, 1.0]


def test_without_a_local_resolution_there_is_the_map_alone() -> None:
    (layer,) = viewer_state(MAP, GRID, (0.0, 1.0))["layers"]
    assert layer["name"] == "map"


@pytest.mark.parametrize("name", ["rainbow", "viridis", "cividis"])
def test_the_shader_holds_the_colours_and_limits_of_the_palette(name: str) -> None:
    palette = palette_for(np.linspace(3, 7, 500), name)
    shader = resolution_shader(palette)
    body = shader[shader.index("](") : shader.index(");")]
    colours = np.array([[float(part) for part in triple.split(",")] for triple in re.findall(r"vec3\(([^)]*)\)", body)])
    at = np.array([value for value, _ in palette.stops])
    np.testing.assert_allclose(colours, palette(at), atol=0.001)
    assert f"colours[{len(at)}] = vec3[{len(at)}]" in shader
    defaults = [float(value) for value in re.findall(r"default=([\d.]+)", shader)]
    assert defaults == pytest.approx([palette.low, palette.high], abs=0.01)
