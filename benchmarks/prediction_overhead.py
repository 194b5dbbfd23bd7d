"""What a prediction costs, from a store entry to the result in the store, over the bare net on the same voxels."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.maps import ball_entry
from benchmarks.report import Row, side_by_side
from emres.archive.attributes import ANSWERS
from emres.archive.registry import find_model
from emres.archive.scratch import MemoryScratch
from emres.archive.store import EntryGroup
from emres.model.bundle import build_net, open_bundle, save_bundle, self_test_condition
from emres.model.condition import condition_of
from emres.model.conditioned import ConditionedUNet
from emres.model.contract import read_contract
from emres.model.unet import TwoLevelUNet
from emres.model.whole_map import levels_read
from emres.run.map_spectra import REACH, Molecule, places_of
from emres.run.masks import mask_slabs
from emres.run.predict import predict_entry, predict_job
from emres.run.prepare import prepare
from emres.volume.grid import Grid, as_shape
from emres.volume.pyramid import MemoryPyramid

Array = np.ndarray[Any, Any]

SIDES = {"small": 32, "full": 200, "large": 256}
# The larger a map, the less the halo round its molecule weighs: boxes of the archive are mostly of 200 to 400.
LARGER = {"small": 40, "full": 320, "large": 400}

# Mask, share of the box that the molecule fills, wanted ratio. The automatic masks of the whole entries at hand fill
# 1.9, 2.0, 3.9, 7.5 and 15.3 % of their boxes: the median, and the fullest, on which the halo fills the rest.
WHOLE, MASKED, FULL = ("none", 0.15, 1.10), ("auto", 0.04, 0.5), ("auto", 0.15, None)

# The cheaper the net, the more the reading and writing round it weigh: so also with one of the 60 kFLOP a voxel that
# the next model may cost (its weights are random; the time does not depend on them).
HEAVY = {"channels": 36, "deep_channels": 104, "deep_layers": 3}

_USUAL = 4.0  # resolution over voxel size, where nothing tells it: so a prediction takes it


def measure(size: str) -> list[Row]:
    """Return, for each net and mask, the seconds of the whole prediction over those of the bare net on the box."""
    with tempfile.TemporaryDirectory() as folder:
        shipped = find_model()
        heavy = random_bundle(Path(folder) / "heavy", shipped, HEAVY)
        cases = [(shipped, *WHOLE), (shipped, *MASKED)]
        if size == "large":  # a run of all benchmarks is to take less than 20 minutes
            cases += [(shipped, *FULL), (heavy, *WHOLE), (heavy, *MASKED)]
        rows = [_row(SIDES[size], *case) for case in cases]
        rows += [_row(LARGER[size], model, *MASKED) for model in (shipped, heavy)]
        return rows + [_whole_model_row(SIDES[size], shipped, *case) for case in (WHOLE, MASKED)]


def _row(side: int, model: Path, mask: str, share: float, wanted: float | None) -> Row:
    bundle = open_bundle(model)
    assert isinstance(bundle.net, TwoLevelUNet)
    cost = f"{bundle.net.flops_per_voxel / 1000:.0f} kFLOP/voxel"
    ratio, how = _timed(side, model, mask, share, partial(bare_net, bundle.net))
    figure = f"{cost}: {side}^3, mask {mask}, molecule {share:.0%} of the box / bare torch forward"
    return Row(figure, ratio, wanted, how=how)


def _whole_model_row(side: int, model: Path, mask: str, share: float, wanted: float | None) -> Row:
    """Return the same over all that the model computes, its readers too, on the whole box with nothing skipped."""
    ratio, how = _timed(side, model, mask, share, partial(bare_model, model))
    figure = f"{side}^3, mask {mask}, molecule {share:.0%} of the box / bare torch forward and what is read of the map"
    return Row(figure, ratio, wanted, how=how)


def _timed(
    side: int, model: Path, mask: str, share: float, bare_of: Callable[[Array], Callable[[], torch.Tensor]]
) -> tuple[float, str]:
    """Return the seconds of a prediction over those of what is bare on its box, and both in words."""
    with tempfile.TemporaryDirectory() as folder:
        group = ball_entry(Path(folder), side, read_contract(model).voxel_size, share)
        bare = bare_of(np.asarray(group.array()[...]))
        whole, in_one_go = side_by_side(partial(predict, group, mask, model), bare, before=partial(forget, group))
    return whole / in_one_go, f"{whole:.2f} s / {in_one_go:.2f} s, {torch.get_num_threads()} threads"


def random_bundle(folder: Path, like: Path, arguments: dict[str, int]) -> Path:
    """Save a net of other widths, with random weights and otherwise the contract of another."""
    torch.manual_seed(0)
    contract = replace(read_contract(like), name="heavy", arguments=arguments)
    save_bundle(folder, build_net(contract.architecture, arguments), contract, "Random weights, for timing only.")
    return folder


def predict(group: EntryGroup, mask: str, model: Path) -> None:
    """Predict an entry, which must have no result."""
    facts = predict_entry(predict_job(group.path, str(model), mask=mask, device="cpu"))
    assert facts["computed"], "there was a result already"


def forget(group: EntryGroup) -> None:
    """Throw the results of an entry away: on some disks that takes as long as a part of the prediction."""
    for answer in ANSWERS:
        shutil.rmtree(group.path / answer, ignore_errors=True)


def bare_net(net: TwoLevelUNet, density: Array) -> Callable[[], torch.Tensor]:
    """Return the net as inference runs it (folded, channels last), applied to a whole box in one go."""
    net = net.folded().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    values = torch.from_numpy(density)[None, None]
    told = {"condition": self_test_condition()} if isinstance(net, ConditionedUNet) else {}

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return torch.as_tensor(net(values, **told))

    return forward


def bare_model(folder: Path, density: Array) -> Callable[[], torch.Tensor]:
    """Return all that a model computes once a map is prepared, on a whole box in one go: readers, and the net."""
    contract, scratch = read_contract(folder), MemoryScratch()
    grid = Grid(as_shape(density.shape), (contract.voxel_size,) * 3)
    source = MemoryPyramid(density, grid)
    boxes = prepare(source, mask_slabs(source, "none"), grid, scratch, reach=REACH)
    molecule = Molecule.prepared(scratch, grid, boxes, contract.voxel_size)
    net = open_bundle(folder).net
    assert isinstance(net, TwoLevelUNet)
    forward = bare_net(net, density)

    def read_and_forward() -> torch.Tensor:
        spectra = molecule.spectra()
        curves, shown = places_of(molecule, spectra, _USUAL * contract.voxel_size, contract.voxel_size)
        levels = levels_read(folder, contract, condition_of(spectra, None, shown), curves)
        assert levels is not None
        levels.pattern((0, 0, 0), grid.shape)
        return forward()

    return read_and_forward
