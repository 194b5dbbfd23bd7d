"""A prediction beside MONAI's ``sliding_window_inference``: windows of one size, the same net, the same density.

MONAI is given the density ready made, in windows that lie to the box as our blocks of 192 voxels lie to one of 512^3;
ours goes from the store to the result in the store. How near each comes to the net on the whole box in one go is told
too: an answer that depends on where windows happen to lie is no answer.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.maps import ball_entry
from benchmarks.prediction_overhead import forget, predict
from benchmarks.report import Row, seconds
from emres.archive.registry import find_model
from emres.archive.scratch import MemoryScratch
from emres.model.bundle import open_bundle
from emres.model.contract import read_contract
from emres.model.unet import TwoLevelUNet
from emres.run.map_spectra import prepare_for
from emres.run.masks import mask_slabs
from emres.run.predict import PredictJob, predict_job
from emres.run.prepare import DENSITY, NEEDED, PATTERN

Array = np.ndarray[Any, Any]

SIZES = {"small": (48, 24), "full": (256, 96), "large": (512, 192)}  # box and window, voxels
WANTED = {0.25: 1 / 2, 0.5: 1 / 6}  # ours / theirs, by how much windows overlap
MISSING = "MONAI is not installed: pip install -c constraints.txt emres[bench]"


def measure(size: str) -> list[Row]:
    """Return ours / MONAI's seconds, and ours / MONAI's distance from the net on the whole box."""
    if find_spec("monai") is None:
        return [Row("MONAI's sliding window", math.nan, how=MISSING)]
    side, window = SIZES[size]
    model = find_model()
    with tempfile.TemporaryDirectory() as folder:
        group = ball_entry(Path(folder), side, read_contract(model).voxel_size, share=0.04)
        anew = partial(forget, group)
        took = {mask: best(partial(predict, group, mask, model), anew) for mask in ("auto", "none")}
        prepared = Prepared(predict_job(group.path, mask="auto", device="cpu"))
    whole = prepared.whole()
    rows = []
    for overlap, wanted in WANTED.items():
        answers: list[Array] = []
        theirs = seconds(lambda answers=answers, overlap=overlap: answers.append(prepared.by_monai(window, overlap)))
        how = f"windows of {window}^3; {{:.1f}} s / {theirs:.1f} s"
        what = f"{side}^3, mask {{}} / MONAI, overlap {overlap:g}"
        for mask, limit in (("auto", wanted), ("none", None)):
            rows.append(Row(what.format(mask), took[mask] / theirs, limit, how=how.format(took[mask])))
        ours, away = (prepared.distance(one, whole) for one in (prepared.ours(), answers[0]))
        how = f"{ours:.2g} Å / {away:.2g} Å on average in the molecule"
        rows.append(Row(f"distance from the whole box / MONAI's, overlap {overlap:g}", ours / away, 1.0, how=how))
    return rows


def best(call: Callable[[], object], before: Callable[[], object]) -> float:
    """Return the seconds of a call, the better of two after a warm-up; what is called before each is not timed."""
    before(), call()
    return min((before(), seconds(call))[1] for _ in range(2))


class Prepared:
    """A map ready for the net, and the net as inference runs it.

    Parameters
    ----------
    job : PredictJob
    """

    def __init__(self, job: PredictJob) -> None:
        scratch, source = MemoryScratch(), job.group.pyramid()
        mask = mask_slabs(source, job.mask, None)
        prepare_for(job.contract, source, mask, job.grids[1], scratch, job.reported, job.model)
        self.density, self.needed, self._pattern = map(scratch.open, (DENSITY, NEEDED, PATTERN))
        self._condition = scratch.notes()["condition"]
        self._predictor = replace(job.predictor, with_spread=False).told(self._condition)
        bundle = open_bundle(job.model)
        assert isinstance(bundle.net, TwoLevelUNet)
        self._net = bundle.net.folded().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._range, self._voxel_size = bundle.contract.valid_range, job.grids[1].voxel_size[0]

    def _told(self, windows: torch.Tensor) -> torch.Tensor:
        """Run the net on windows of density and pattern, (n, 2, z, y, x), with what it is told of the map."""
        condition = torch.tensor([self._condition]).expand(len(windows), -1)
        density, pattern = windows.split(1, 1)  # MONAI knows of no margins
        return torch.as_tensor(self._net(density, condition=condition, pattern=pattern))

    def whole(self) -> Array:
        """Return what the net says of the whole box in one go, Å."""
        with torch.inference_mode():
            return self._in_angstrom(self._told(self._input()))

    def by_monai(self, window: int, overlap: float) -> Array:
        """Return what the net says by MONAI, Å."""
        from monai.inferers import sliding_window_inference

        with torch.inference_mode():
            found = sliding_window_inference(
                self._input(), (window,) * 3, 1, self._told, overlap=overlap, mode="gaussian"
            )
            return self._in_angstrom(torch.as_tensor(found))

    def ours(self) -> Array:
        """Return what our blocks say, Å."""
        return self._predictor(self.density, self.needed, self._pattern)

    def distance(self, one: Array, other: Array) -> float:
        """Return the mean absolute difference in the molecule, Å."""
        return float(np.abs(one - other)[self.needed].mean())

    def _input(self) -> torch.Tensor:
        return torch.from_numpy(np.stack([self.density, self._pattern]))[None]

    def _in_angstrom(self, answer: torch.Tensor) -> Array:
        return np.asarray(answer[0, 0].exp().clamp(*self._range) * self._voxel_size)
