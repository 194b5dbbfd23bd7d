"""kill -9 at any moment: the same command goes on, and ends with the bytes of an undisturbed run."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emres.archive.emdb import Mirror
from emres.archive.mrc_write import write_mrc
from emres.volume.grid import Grid, make_volume
from tests.mirror import build_mirror
from tests.run.conftest import toy_density

GRID = Grid((60, 48, 56), (1.9, 1.9, 1.9))

# Blocks of 32 on disk, so that there is something to be interrupted; every block that is computed is counted.
SCRIPT = """
import dataclasses, sys
from pathlib import Path
from emres.archive.emdb import Mirror
from emres.archive.store import Store
from emres.run import blockwise, predict
from emres.run.export import export_mrc
from emres.run.fetch import FetchPlan, fetch_into_store

mirror, store, model, counted = sys.argv[1:5]
predict._CORE = 32
real = blockwise.write_block

def counting(job, index):
    real(job, index)
    with open(counted, "a") as file:
        print(job.label, *index, file=file)
    return index

blockwise.write_block = counting
for name in ("EMD-0001", "EMD-0002"):
    group = Store(Path(store)).entry(name)
    if not group.has("map"):
        fetch_into_store(name, FetchPlan(Store(Path(store)), Mirror.at(mirror)))
    job = dataclasses.replace(predict.predict_job(group.path, model), memory_bytes=0)
    predict.predict_entry(job)
    export_mrc(group, Path(store) / f"{name}.mrc", job.result, overwrite=True)
"""


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Mirror:
    root = tmp_path_factory.mktemp("kill")
    maps = {f"EMD-000{n}": write_mrc(root / f"{n}.mrc", make_volume(toy_density(GRID, seed=n), GRID)) for n in (1, 2)}
    return build_mirror(root / "mirror", maps)


def command(mirror: Mirror, store: Path, model: Path) -> list[str]:
    return [sys.executable, "-c", SCRIPT, mirror.root, str(store), str(model), str(store.with_suffix(".log"))]


def files_of(store: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("*")) if path.is_file() and ".work" not in path.parts
    }  # fmt: skip


def test_a_run_killed_again_and_again_ends_with_the_bytes_of_an_undisturbed_one(
    mirror: Mirror, toy_model: Path, tmp_path: Path
) -> None:
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    start = time.monotonic()
    subprocess.run(command(mirror, calm, toy_model), check=True)
    length = time.monotonic() - start
    draw, kills = random.Random(11), 0
    while kills < 2:
        process = subprocess.Popen(command(mirror, rough, toy_model))
        try:
            process.wait(timeout=draw.uniform(0.35, 0.9) * length)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    subprocess.run(command(mirror, rough, toy_model), check=True)
    assert kills >= 1
    assert files_of(rough) == files_of(calm)
    needed, computed = (len(store.with_suffix(".log").read_text().splitlines()) for store in (calm, rough))
    # At most the block in flight is computed twice; and a kill may come after a block was done, before it was counted.
    assert needed - kills <= computed <= needed + kills
    assert not any((rough / ".work").rglob("zarr.json"))
