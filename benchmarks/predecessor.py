"""A prediction beside the predecessor's way: its own architecture, cube by cube, on a box padded to a power of two."""

from __future__ import annotations

import math
import tempfile
from functools import partial
from pathlib import Path

import torch

from benchmarks.maps import ball_entry
from benchmarks.prediction_overhead import forget, predict
from benchmarks.report import Row, side_by_side
from emres.archive.registry import find_model
from emres.model.contract import read_contract
from emres.model.legacy import CUBE, LegacyUNet

# Side of the map, channels of the predecessor's first level, and how many of its cubes are timed. All of them would
# take minutes, and one takes as long as another.
SIZES = {"small": (32, 2, 4), "full": (200, 64, 64), "large": (200, 64, 512)}
WANTED = 1 / 20


def measure(size: str) -> list[Row]:
    """Return ours / the predecessor's seconds, from the store to the result against its net alone."""
    side, filters, timed = SIZES[size]
    cubes = (2 ** math.ceil(math.log2(side)) // CUBE) ** 3
    rows, model, some = [], find_model(), legacy_forward(filters, timed)
    with tempfile.TemporaryDirectory() as folder:
        group = ball_entry(Path(folder), side, read_contract(model).voxel_size)
        for mask, wanted in (("auto", WANTED), ("none", None)):
            anew = partial(forget, group)
            ours, theirs = side_by_side(partial(predict, group, mask, model), some, repeats=2, before=anew)
            whole = theirs * cubes / timed
            how = f"{ours:.2f} s / {whole:.0f} s: {timed} of {cubes} cubes took {theirs:.2f} s"
            rows.append(Row(f"{side}^3, mask {mask} / the predecessor's net", ours / whole, wanted, how=how))
    return rows


def legacy_forward(filters: int, cubes: int) -> partial[torch.Tensor]:
    """Return a call that sends so many cubes through the predecessor's net, its weights random."""
    torch.manual_seed(0)
    net = LegacyUNet(batchnorm=0, filters=filters).eval()
    net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return partial(_forward, net, torch.rand(1, 1, CUBE * cubes, CUBE, CUBE))


def _forward(net: LegacyUNet, density: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.as_tensor(net(density))
