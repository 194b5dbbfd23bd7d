"""The reference estimators beside the programs they stand in for, on the stored half maps.

RELION runs here where it is installed (Debian: ``relion``). Of the others only recorded seconds are at hand
(``references.tsv``: one thread of a busy machine, and a quiet one for the real maps).
"""

from __future__ import annotations

import csv
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.estimator_memory import memory_rows
from benchmarks.report import Row, seconds
from emres.estimators.fsc import dense_fsc
from emres.estimators.fsc_blocres import blocres_fsc
from emres.estimators.fsc_relion import relion_fsc
from emres.estimators.monores import monores, monores_halves
from emres.estimators.resmap import resmap
from emres.volume.threads import torch_threads

Array = np.ndarray[Any, Any]

REFERENCES = Path(__file__).parents[1] / "../shared/data/references"
VOXEL_SIZES = {"a": 1.0, "b": 1.3, "c": 1.1}


def measure(size: str) -> list[Row]:
    """Return ours / theirs for each estimator, the dense FSC of a 160^3 map in seconds, and the memory of all."""
    with torch_threads(2):
        return _rows(size)


def _rows(size: str) -> list[Row]:
    side = 48 if size == "small" else 160
    rows = [dense_row(side), *memory_rows(side)]
    if size == "small" or not REFERENCES.is_dir():
        return rows
    cases = [("a", 25.0), ("a", 15.0)] + ([("b", 25.0), ("c", 25.0)] if size == "large" else [])
    rows += [relion_row(name, sampling) for name, sampling in cases]
    for name in VOXEL_SIZES if size == "large" else ("a",):
        rows += recorded_rows(name)
    return rows


def dense_row(side: int) -> Row:
    """Return the seconds of a dense FSC."""
    halves = np.random.default_rng(0).normal(size=(2, side, side, side)).astype(np.float32)
    took = seconds(lambda: dense_fsc(halves[0], halves[1], 1.0))
    return Row(f"dense FSC of {side}^3", took, 10.0, "s", "2 threads")


def relion_row(name: str, sampling: float) -> Row:
    """Return ours / RELION's seconds at the same sampling points: medians in turns, of five, or of three slow ones.

    Ours starts from arrays in a process that runs, as the estimator is called from a batch; RELION's seconds hold its
    start, reading and writing, too.
    """
    first, second, _ = (read(REFERENCES / name / f"{part}.map.gz") for part in PARTS)
    voxel = VOXEL_SIZES[name]
    call = partial(relion_fsc, first, second, voxel, sampling=sampling)
    call()
    peer = f"s{sampling:g}" + ("cube" if name == "b" else "")
    here = shutil.which("relion_postprocess") is not None
    pairs = [
        (seconds(call), run_relion(first, second, voxel, sampling) if here else recorded(name, "relion", peer))
        for _ in range(5 if sampling >= 25 else 3)
    ]
    ours, theirs = (statistics.median(each) for each in zip(*pairs, strict=True))
    how = f"{ours:.2f} s / {theirs:.1f} s {'in turns' if here else 'recorded'}"
    return Row(f"definition relion, {name}, sampling {sampling:g} Å / RELION", ours / theirs, 1 / 20, how=how)


def recorded_rows(name: str) -> list[Row]:
    """Return ours / recorded seconds of blocres, MonoRes and ResMap on one object."""
    first, second, mask = (read(REFERENCES / name / f"{part}.map.gz") for part in PARTS)
    mean, voxel = (first + second) / 2, VOXEL_SIZES[name]
    sweep = {"coarsest": 15.0, "finest": 2 * voxel}
    box = {"mask": mask, "box_size": 22 if name == "c" else 20, "step": 3}
    pairs: list[tuple[str, str, Callable[[], object], float | None]] = [
        ("monores", "half", partial(monores_halves, first, second, voxel, mask, **sweep), 0.5),
        ("monores", "single", partial(monores, mean, voxel, mask, **sweep), 0.5),
        ("blocres", "fsc0143", partial(blocres_fsc, first, second, voxel, **box), None),
    ]
    if name != "b":
        levels, peer = ((2.2, 5.0), "nolpf") if name == "a" else ((2.42, 8.0), "single")
        call = partial(resmap, mean, voxel, mask, finest=levels[0], coarsest=levels[1])
        pairs.append(("resmap", peer, call, 0.5))
    return [_recorded_row(name, *pair) for pair in pairs]


def _recorded_row(name: str, peer: str, variant: str, call: Callable[[], object], wanted: float | None) -> Row:
    ours = min(seconds(call) for _ in range(2))
    wall, cpu = recorded(name, peer, variant), recorded(name, peer, variant, "cpu_seconds")
    how = f"{ours:.2f} s / {cpu:g} processor seconds recorded ({wall:g} s wall)"
    return Row(f"{peer} {variant}, {name} / the program's recorded processor time", ours / cpu, wanted, how=how)


PARTS = ("half_map_1", "half_map_2", "mask")


def recorded(name: str, peer: str, variant: str, column: str = "seconds") -> float:
    """Return a figure of references.tsv."""
    with (REFERENCES / "references.tsv").open() as table:
        for row in csv.DictReader(table, delimiter="\t"):
            if (row["object"], row["peer"], row["variant"]) == (name, peer, variant):
                return float(row[column])
    raise LookupError(f"references.tsv has no {peer} {variant} of {name}")


def run_relion(first: Array, second: Array, voxel: float, sampling: float) -> float:
    """Return the seconds of ``relion_postprocess --locres``, on a cube as it wants it."""
    with tempfile.TemporaryDirectory() as folder:
        for number, half in ((1, first), (2, second)):
            write_cube(Path(folder) / f"half_map_{number}.mrc", half, voxel)
        command = [
            "relion_postprocess",
            "--locres",
            "--i",
            "half_map_1.mrc",
            "--i2",
            "half_map_2.mrc",
            "--angpix",
            str(voxel),
            "--locres_sampling",
            str(sampling),
            "--o",
            "out",
        ]
        return seconds(lambda: subprocess.run(command, cwd=folder, check=True, capture_output=True))


def read(path: Path) -> Array:
    """Return the values of a stored map."""
    from emres.archive.mrc import read_mrc

    return np.asarray(read_mrc(path).values, dtype=np.float32)


def write_cube(path: Path, values: Array, voxel: float) -> None:
    """Write a map padded with zeros to a cube."""
    from emres.archive.mrc_write import write_mrc
    from emres.volume.grid import Grid, make_volume

    side = max(values.shape)
    low = [(side - n) // 2 for n in values.shape]
    padding = [(a, side - n - a) for a, n in zip(low, values.shape, strict=True)]
    write_mrc(path, make_volume(np.pad(values, padding), Grid((side,) * 3, (voxel,) * 3)))
