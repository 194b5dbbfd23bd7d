"""Two half maps of one's own become an entry: with their map, or with their average."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emres.archive.mrc_write import write_mrc
from emres.archive.store import EntryGroup, Store
from emres.errors import MapError
from emres.run.ingest import import_half_maps
from emres.volume.grid import Grid, make_volume
from tests.run.halves import HALVES, TOY, toy_halves, write_halves


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_halves(tmp_path_factory.mktemp("maps"))


def values_of(group: EntryGroup, kind: str) -> np.ndarray:
    return np.asarray(group.array(kind)[...])


def written_at(group: EntryGroup, kind: str) -> int:
    return (group.path / kind / "zarr.json").stat().st_mtime_ns


def test_without_a_map_it_is_the_average_lying_on_the_half_maps(tmp_path: Path, maps: dict[str, Path]) -> None:
    halves, store = [maps[kind] for kind in HALVES], Store(tmp_path)
    group = import_half_maps(halves, store, "mine")
    assert group.kinds() == ["map", *HALVES]
    first, second = toy_halves()
    assert np.allclose(values_of(group, "map"), (first + second) / 2, atol=1e-6)
    assert group.grid("map") == group.grid("half_map_1")
    assert group.attributes("map")["mrc_header"] == group.attributes("half_map_1")["mrc_header"]
    before = written_at(group, "map")
    import_half_maps(halves, store, "mine")
    assert written_at(group, "map") == before
    import_half_maps(halves[::-1], store, "mine")
    assert written_at(group, "map") != before


def test_a_map_that_is_given_is_the_map(tmp_path: Path, maps: dict[str, Path]) -> None:
    sharpened = write_mrc(tmp_path / "sharpened.mrc", make_volume(3 * toy_halves()[0], TOY))
    group = import_half_maps([maps[kind] for kind in HALVES], Store(tmp_path / "store"), "mine", map=sharpened)
    assert np.array_equal(values_of(group, "map"), 3 * toy_halves()[0])


def test_maps_that_do_not_fit_together_are_refused_before_anything_is_written(
    tmp_path: Path, maps: dict[str, Path]
) -> None:
    grid = Grid((40, 40, 40), TOY.voxel_size)
    other = write_mrc(tmp_path / "other.mrc", make_volume(np.ones(grid.shape, dtype=np.float32), grid))
    for halves, whole in (((maps["half_map_1"], other), None), ([maps[kind] for kind in HALVES], other)):
        with pytest.raises(MapError, match=r"other\.mrc lies on another grid than .*half_map_1"):
            import_half_maps(halves, Store(tmp_path / "store"), "mine", map=whole)
    assert not (tmp_path / "store").exists()
