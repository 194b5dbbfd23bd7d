"""What the U-Net's own sight is worth: nets that see farther and nearer, which start from the same readers.

    python workflows/ablate_reach.py SET                  # a data set that `emres dataset build` made
    python workflows/ablate_reach.py SET --into MODEL     # noted in a bundle, for its card

Readers learn once, from the training side, and read its maps once; then nets with fewer and more residual layers at
quarter sampling learn from the same patches, each from its own start. Errors are those of the validation patches, some
told the resolution of their map, as in training. Seeds are fixed; 400 steps of a net take some three minutes on two CPU
cores.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from emres.archive.manifest import DataSet, read_dataset
from emres.model.conditioned import ConditionedUNet
from emres.model.feed import Feed
from emres.model.loader import PatchStream
from emres.model.ranks import Ranks
from emres.model.train import Moment, train
from emres.model.train_plan import TrainPlan
from emres.model.train_state import TrainState
from emres.model.validation import Validation
from emres.run.card import note_for_card
from emres.run.train_bundle import contract_for, fresh_net
from emres.run.train_data import training_stream, validation_stream
from emres.run.train_files import NoFiles
from emres.run.train_readers import learn_readers, read_maps

LAYERS = (0, 1, 3, 6)  # the model that ships has three


def main() -> None:
    """Train and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--into", type=Path, metavar="MODEL", help="a bundle whose contract is to hold the table")
    parser.add_argument("--steps", type=int, default=400, help="the model's own net learns 1600")
    parser.add_argument("--patches", type=int, default=512, help="of the validation side")
    parser.add_argument("--layers", type=int, nargs="+", default=LAYERS, help="of each net, at quarter sampling")
    options = parser.parse_args()
    plan = TrainPlan(
        steps=options.steps, validation_patches=options.patches, averaging=0.98, weight_decay=0.01,
        evaluate_every=options.steps, patience=0,
    ).settled()  # fmt: skip
    table = measured(read_dataset(options.dataset), plan, options.layers)
    print(json.dumps(table, indent=2))
    if options.into is not None:
        title = f"error of U-Nets that see so far, learnt in {options.steps} steps, Å, patches of the validation side"
        note_for_card(options.into, {title: table})


def measured(dataset: DataSet, plan: TrainPlan, depths: Sequence[int]) -> dict[str, dict[str, float]]:
    """Return the mean error over maps, Å, and the operations of a voxel of nets that see so many voxels."""
    stream, held = training_stream(dataset, plan), validation_stream(dataset, plan)
    if held is None:
        raise SystemExit("the validation side is empty")
    readers = fresh_net(plan, dataset.side("train"))
    assert isinstance(readers, ConditionedUNet)
    learn_readers(readers, stream, plan, tell)
    read_maps(readers, stream, tell, learnt=True)
    read_maps(readers, held, tell)
    looked = Validation(
        list(held.batches(0, 1)), len(dataset.side("validation")), contract_for(plan, readers, "reach"), Ranks()
    )
    table = {"none: readers alone": {"error": looked(saying_nothing(with_readers(readers, plan)))["mae"]}}
    for layers in depths:
        other = replace(plan, arguments={**plan.arguments, "deep_layers": layers})
        net = with_readers(readers, other)
        error = learnt(net, stream, other, looked)
        table[f"{net.receptive_radius} voxels"] = {"error": error, "kFLOP a voxel": net.flops_per_voxel / 1000}
        print(f"{layers} layers: {error:.3f} Å", file=sys.stderr, flush=True)
    return {name: {key: round(value, 3) for key, value in row.items()} for name, row in table.items()}


def saying_nothing(net: ConditionedUNet) -> ConditionedUNet:
    """Return a net that adds nothing to its readers: what any other starts from."""
    nn.init.zeros_(net.head.weight)
    if net.head.bias is not None:
        nn.init.zeros_(net.head.bias)
    return net.eval()


def with_readers(readers: ConditionedUNet, plan: TrainPlan) -> ConditionedUNet:
    """Return a fresh net that has these readers."""
    net = fresh_net(plan, ())
    assert isinstance(net, ConditionedUNet)
    net.film.follow(readers.film)
    return net


def learnt(net: ConditionedUNet, stream: PatchStream, plan: TrainPlan, looked: Validation) -> float:
    """Teach a net, and return its error on the validation patches, Å."""
    state, ranks = TrainState(net, plan.weight_decay), Ranks()
    train(state, Feed(stream, plan, ranks), plan, contract_for(plan, net, "reach"), looked, NoFiles(), ranks)
    return state.looks[-1]["mae"]


def tell(moment: Moment) -> None:
    """Print a line for every tenth of the readers' work."""
    if moment.step % max(moment.steps // 10, 1) == 0:
        print(f"{moment.what} {moment.step}/{moment.steps}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
