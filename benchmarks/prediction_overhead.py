"""What a prediction costs, from a store entry to the result in the store, over the bare net on the same voxels."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.maps import ball_entry
from benchmarks.report import Row, side_by_side
from emres.archive.registry import find_model
from emres.archive.store import EntryGroup
from emres.model.bundle import open_bundle
from emres.model.contract import read_contract
from emres.model.unet import CompactUNet
from emres.run.predict import predict_entry, predict_job

Array = np.ndarray[Any, Any]

SIDES = {"small": 32, "full": 200, "large": 256}

# Mask, share of the box that the molecule fills, wanted ratio. The automatic masks of the whole entries at hand fill
# 1.9, 2.0, 3.9, 7.5 and 15.3 % of their boxes: the median, and the fullest, on which the halo fills the rest.
CASES = (("none", 0.15, 1.15), ("auto", 0.04, 0.5), ("auto", 0.15, None))


def measure(size: str) -> list[Row]:
    """Return, for each mask, the seconds of the whole prediction over those of the bare net on the whole box."""
    side, voxel_size = SIDES[size], read_contract(find_model()).voxel_size
    rows = []
    for mask, share, wanted in CASES:
        with tempfile.TemporaryDirectory() as folder:
            group = ball_entry(Path(folder), side, voxel_size, share)
            net = bare_net(np.asarray(group.array()[...]))
            whole, bare = side_by_side(partial(predict_anew, group, mask), net)
        how = f"{whole:.2f} s / {bare:.2f} s, {torch.get_num_threads()} threads"
        figure = f"predict {side}^3, mask {mask}, molecule {share:.0%} of the box / bare torch forward"
        rows.append(Row(figure, whole / bare, wanted, how=how))
    return rows


def predict_anew(group: EntryGroup, mask: str) -> None:
    """Predict an entry whose results were thrown away."""
    shutil.rmtree(group.path / "local_resolution", ignore_errors=True)
    predict_entry(predict_job(group.path, mask=mask, device="cpu"))


def bare_net(density: Array) -> Callable[[], torch.Tensor]:
    """Return the net as inference runs it (folded, channels last), applied to a whole box in one go."""
    net = open_bundle(find_model()).net
    assert isinstance(net, CompactUNet)
    net = net.folded().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    values = torch.from_numpy(density)[None, None]

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return torch.as_tensor(net(values))

    return forward
