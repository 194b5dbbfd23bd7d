"""Other programs' readers see map and local resolution where they are: ome-zarr's own, and napari's plugin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ome_zarr.io import parse_url
from ome_zarr.reader import Multiscales, Reader

from emres.archive.store import EntryGroup, open_volume
from tests.archive.volumes import GRID, filled_store

MAP, RESULT = "map", "local_resolution/a@1-beta"


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> EntryGroup:
    return filled_store(tmp_path_factory.mktemp("ome") / "store").entry("EMD-1234")


@pytest.mark.parametrize("kind", [MAP, "half_map_1", "mask", RESULT])
def test_ome_zarr_reads_every_level_at_its_scale_and_place(group: EntryGroup, kind: str) -> None:
    (node,) = Reader(parse_url(group.path / kind))()
    assert node.load(Multiscales)
    assert [(axis["name"], axis["unit"]) for axis in node.metadata["axes"]] == [(dim, "angstrom") for dim in "zyx"]
    assert len(node.data) == len(node.metadata["coordinateTransformations"]) == group.levels(kind)
    for level, (values, steps) in enumerate(zip(node.data, node.metadata["coordinateTransformations"], strict=True)):
        grid = group.grid(kind, level)
        assert values.shape == grid.shape
        assert steps == [
            {"type": "scale", "scale": list(grid.voxel_size)},
            {"type": "translation", "translation": list(grid.origin)},
        ]
        np.testing.assert_array_equal(values.compute(), open_volume(group.path, kind, level).values)


def test_ome_zarr_lays_the_local_resolution_exactly_on_the_map(group: EntryGroup) -> None:
    (density,), (resolution,) = (list(Reader(parse_url(group.path / kind))()) for kind in (MAP, RESULT))
    assert density.metadata["coordinateTransformations"] == resolution.metadata["coordinateTransformations"]
    assert [level.shape for level in density.data] == [level.shape for level in resolution.data]


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_napari_lays_the_local_resolution_exactly_on_the_map(
    group: EntryGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """napari's reader needs no viewer and no display, but 200 MB of packages: it is not among the tests' own."""
    plugin = pytest.importorskip("napari_ome_zarr", reason="napari-ome-zarr is not installed")
    monkeypatch.delenv("DISPLAY", raising=False)
    places = []
    for kind in (MAP, RESULT):
        path = str(group.path / kind)
        ((levels, facts, form),) = plugin.napari_get_reader(path)(path)
        assert form == "image"
        assert [level.shape for level in levels] == [group.grid(kind, k).shape for k in range(group.levels(kind))]
        assert facts["scale"] == pytest.approx(GRID.voxel_size)
        assert facts.get("units", ("angstrom",) * 3) == ("angstrom",) * 3  # versions before 0.9 tell no unit
        places.append(_translation(facts))
    assert places[0] == places[1]
    # Versions 0.9 and 0.10 of the plugin read only the first of the two transformations of a level, the scale, and so
    # put everything at 0: a map and its resolution still lie on each other.
    assert places[0] in (pytest.approx(GRID.origin), (0.0, 0.0, 0.0))


def _translation(facts: dict[str, Any]) -> tuple[float, ...]:
    if "affine" in facts:
        return tuple(float(value) for value in facts["affine"].translate)
    return tuple(float(value) for value in facts["translate"])
