"""Every real map at hand goes through the whole chain: a mirror of them, fetch, Zarr, the shipped model, MRC."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import numpy as np
import pytest

from emres.archive.emdb import Mirror
from emres.archive.entry import Entry
from emres.archive.mrc import read_mrc
from emres.archive.store import Store
from emres.run.api import batch_predict
from emres.volume.grid import grid_of
from tests.mirror import build_mirror

MAPS = Path(__file__).parents[2] / "../shared/data/maps"

pytestmark = pytest.mark.skipif(not MAPS.is_dir(), reason="the shared real maps are not at hand")


def table() -> list[dict[str, str]]:
    if not MAPS.is_dir():
        return []
    with (MAPS / "maps.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def ids() -> dict[str, str]:
    """File -> accession; a second file of an entry, or one of no entry, gets one that EMDB does not use."""
    named: dict[str, str] = {}
    for number, row in enumerate(table()):
        emdb_id = row["emdb_id"]
        named[row["file"]] = emdb_id if emdb_id and emdb_id not in named.values() else f"EMD-9999{number:02d}"
    return named


# 220^3 and 440^3; and 3.6 million voxels of 16.4 Å, which come on eight times as many.
LARGE = [file for file in ids() if file.startswith(("emd_0093", "emd_1155"))]
SMALL = [file for file in ids() if file not in LARGE]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Mirror:
    facts = [
        Entry(ids()[row["file"]], row["file"], resolution=float(row["reported_resolution_A"].rstrip("?") or 0) or None)
        for row in table()
    ]
    maps = {emdb_id: MAPS / file for file, emdb_id in ids().items()}
    return build_mirror(tmp_path_factory.mktemp("real") / "mirror", maps, facts=facts)


def through(files: list[str], mirror: Mirror, folder: Path) -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # two MicroED maps have cells that are not orthogonal
        names = [ids()[file] for file in files]
        outcomes = batch_predict(names, folder / "store", mirror=mirror, export=folder / "out")
    return {"folder": folder, **{outcome.name: outcome for outcome in outcomes}}


@pytest.fixture(scope="module")
def finished(mirror: Mirror, tmp_path_factory: pytest.TempPathFactory) -> dict:
    return through(SMALL, mirror, tmp_path_factory.mktemp("finished"))


@pytest.mark.long
@pytest.mark.parametrize("file", LARGE)
def test_a_large_real_map_goes_through(mirror: Mirror, tmp_path: Path, file: str) -> None:
    check(through([file], mirror, tmp_path), file)


@pytest.mark.parametrize("file", SMALL)
def test_a_real_map_goes_through(finished: dict, file: str) -> None:
    check(finished, file)


def check(finished: dict, file: str) -> None:
    emdb_id = ids()[file]
    outcome = finished[emdb_id]
    assert outcome.status == "done", outcome.reason
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        source = read_mrc(MAPS / file)
        answer = read_mrc(outcome.facts["output"])
    assert grid_of(answer).matches(grid_of(source))
    assert {name: answer.attrs["mrc_header"][name] for name in ("ispg", "origin")} == {
        name: answer.attrs["mrc_header"][name] if name == "ispg" else source.attrs["mrc_header"][name]
        for name in ("ispg", "origin")
    }
    inside = answer.values[answer.values > 0]
    assert inside.size == outcome.facts["voxels"]
    assert inside.min() >= np.float32(2 * max(grid_of(source).voxel_size)) * (1 - 1e-6)
    assert Store(finished["folder"] / "store").entry(emdb_id).kinds()[0] == "map"
