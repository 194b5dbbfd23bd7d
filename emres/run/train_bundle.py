"""Before and after a training: a fresh net with its contract, and the model that came of it, with its provenance."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emres import __version__
from emres.archive.disk import disk_errors
from emres.archive.manifest import DataSet, Row, counts
from emres.model.contract import ANGSTROM, LOG_VOXELS, MIN_MAX, WITH_SPREAD, Contract
from emres.model.train_plan import TrainPlan
from emres.run.train_config import Training
from emres.run.train_data import split_lists, usual_resolution

if TYPE_CHECKING:
    from torch import nn

    from emres.model.ranks import Ranks
    from emres.model.train_state import TrainState

_COMPACT_BYTES = 70  # a voxel, of the compact net as it is built by default: measured
_CUBE_BYTES = 16  # of a net that sees some cubes at a time, whatever it is given


def fresh_net(plan: TrainPlan, rows: Sequence[Row]) -> nn.Module:
    """Return a net to train: weights from the plan's seed, but it says the usual resolution from the first step on.

    Parameters
    ----------
    plan : TrainPlan
        Settled.
    rows : sequence of Row
        Of the training side.
    """
    import torch

    from emres.model.bundle import build_net

    torch.manual_seed(plan.seed)
    net = build_net(plan.kind.architecture, plan.arguments)
    if rows and not getattr(net, "conditioned", False):  # whose level is learnt before anything else
        _start_at(net, usual_resolution(rows, plan))
    # Channels last is what the convolutions of CPUs are written for.
    return net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload,no-any-return]


def _start_at(net: nn.Module, value: float) -> None:
    from torch import nn

    last = [layer for layer in net.modules() if isinstance(layer, nn.Conv3d)][-1]
    if last.bias is not None:
        nn.init.constant_(last.bias, value)


def contract_for(plan: TrainPlan, net: nn.Module, folder_name: str) -> Contract:
    """Return the contract of a net that is to be trained.

    Parameters
    ----------
    plan : TrainPlan
        Settled.
    net : torch.nn.Module
    folder_name : str
        What it is called unless the plan says otherwise.

    Raises
    ------
    ModelError
        If the name cannot be one.
    """
    from emres.model.bundle import all_arguments

    multiple, radius = int(net.multiple), int(net.receptive_radius)  # type: ignore[arg-type]
    named: dict[str, Any] = {
        "name": plan.name or _name_from(folder_name),
        "version": plan.version,
        "architecture": plan.kind.architecture,
        "arguments": all_arguments(plan.kind.architecture, plan.arguments),
        "multiple": multiple,
    }
    if plan.kind.cube:
        made = Contract(
            **named, voxel_size=1.0, octaves=0, halo=0, valid_range=(1.0, 100.0), bytes_per_voxel=_CUBE_BYTES,
            normalisation=MIN_MAX, output=ANGSTROM, cube=plan.kind.cube,
        )  # fmt: skip
    else:
        made = Contract(
            **named, voxel_size=plan.voxel_size or 1.0, octaves=plan.octaves, steps=plan.octave_steps,
            halo=-(-radius // multiple) * multiple, valid_range=plan.valid_range, bytes_per_voxel=bytes_per_voxel(net),
            output=WITH_SPREAD if getattr(net, "conditioned", False) else LOG_VOXELS,
        )  # fmt: skip
    return Contract.from_json(made.to_json(), "the plan")  # which checks it: now, not when all is learnt


def _name_from(folder_name: str) -> str:
    letters = (letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in folder_name)
    return "".join(letters).lstrip("._-") or "net"


def bytes_per_voxel(net: nn.Module) -> int:
    """Return what a forward pass takes: what was measured of the compact net, in proportion to what layers put out."""
    from emres.model.unet import CompactUNet

    return math.ceil(_COMPACT_BYTES * _put_out(net) / _put_out(CompactUNet()))


def _put_out(net: nn.Module) -> int:
    import torch

    from emres.model.bundle import self_test_statistics

    total = 0

    def add(_: nn.Module, __: Any, answer: torch.Tensor) -> None:
        nonlocal total
        total += answer.numel()

    leaves = [layer for layer in net.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(add) for layer in leaves]
    training = net.training
    try:
        self_test_statistics(net.eval())
    finally:
        net.train(training)
        for hook in hooks:
            hook.remove()
    return total


def write_model(training: Training, contract: Contract, state: TrainState) -> Contract:
    """Write the bundle of the averaged net, and return its contract as it was written.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    from emres.model.bundle import save_bundle

    with disk_errors(training.to):
        return save_bundle(training.to, state.average.cpu(), contract, card(contract))


def provenance(state: TrainState, dataset: DataSet, plan: TrainPlan, ranks: Ranks) -> dict[str, Any]:
    """Return where weights come from, as JSON values: plan, data, length, errors, hardware and software."""
    import torch

    last = max(1, len(state.losses) // 20)
    return {
        "plan": plan.record(),
        "seed": plan.seed,
        "steps": state.step,
        "stopped_early": state.stopped,
        "minutes": round(state.seconds / 60, 2),
        "hardware": _hardware(ranks),
        "versions": {
            "emres": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "loss": {
            "first": round(float(np.mean(state.losses[:last])), 4),
            "last": round(float(np.mean(state.losses[-last:])), 4),
        },
        "validation": {key: round(value, 6) for key, value in state.best.items()},
        "examples": {split: found["entries"] for split, found in counts(dataset.rows).items()},
        "dataset": {"name": dataset.folder.name, "made": _made(dataset)},
        **split_lists(dataset),
    }


def _made(dataset: DataSet) -> dict[str, Any]:
    """Return how a data set was made, without what it left out."""
    return {key: value for key, value in dataset.made.items() if key != "left_out"}


def _hardware(ranks: Ranks) -> str:
    import torch

    where = f"CPU, {torch.get_num_threads()} threads"
    if ranks.device.type == "cuda":
        where = torch.cuda.get_device_name(ranks.device)
    return f"{where}, {ranks.size} processes" if ranks.size > 1 else where


def card(contract: Contract) -> str:
    """Return the card of a model that nobody has evaluated yet, Markdown: what it is, what it was trained on."""
    known = contract.training
    found, plan = known["validation"], known["plan"]
    error = (
        f"{found['mae']:.2f} Å at step {found['step']:.0f}" if "mae" in found else "not measured: no validation side"
    )
    settings = "\n".join(f"| {name} | {value} |" for name, value in plan.items() if name != "arguments")
    return _CARD.format(c=contract, known=known, error=error, settings=settings, train=known["examples"]["train"])


_CARD = """\
# {c.name_version}

Local resolution (Å per voxel) of a cryo-EM map from the map alone, by {c.architecture} {c.arguments}.

* Trained by `emres train` on {train} entries of the data set {known[dataset][name]}: {known[steps]} steps in
  {known[minutes]} minutes on {known[hardware]}. Entries and families of each side are listed in `contract.json`.
* Mean absolute error in the molecule, on patches of the validation side, which chose the weights: {error}.
* It has not been evaluated on whole maps of the test side: `emres evaluate` does that, and writes it here.

| setting | value |
|---|---|
{settings}
"""
