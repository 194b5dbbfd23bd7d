"""Train the first model that ships with emres, and write its card from what it measures.

    python workflows/train_first_model.py MODELS MAPS --to emres/model/weights/emres-small --work /tmp/examples

MODELS holds atomic models and models.tsv, MAPS real maps and maps.tsv. On two CPU cores: some 6 minutes to simulate
(kept in --work), 10 to train. The same seed on the same machine gives the same weights.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from emres.model.bundle import build_net, save_bundle
from emres.model.contract import Contract
from emres.model.first_train import TrainingPlan, train
from emres.model.inference import make_predictor
from emres.model.patches import PatchPlan
from emres.run.card import Evidence, provenance
from emres.run.dataset import SPLITS, kept_examples, read_model_table, simulate_examples
from emres.run.evaluate import held_out_errors, real_maps

ARGUMENTS = {"channels": 16, "deep_channels": 48, "deep_layers": 3}
CONTRACT = Contract(
    name="emres-small", version="0.1", architecture="compact_unet", arguments=ARGUMENTS, voxel_size=1.5, octaves=3,
    multiple=4, halo=24, valid_range=(2.0, 12.0), bytes_per_voxel=70,
)  # fmt: skip


def main() -> None:
    """Simulate, train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("maps", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--counts", type=int, nargs=3, default=(400, 48, 60), help="examples: train validation test")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    rows = read_model_table(options.models)
    examples = {}
    for seed, (split, count) in enumerate(zip(SPLITS, options.counts, strict=True), start=1):
        side = [row for row in rows if row.split == split]
        simulated = simulate_examples(options.models, side, count=count, variants=4, octaves=3, seed=seed)
        examples[split] = kept_examples(options.work / split, simulated, count)

    started = time.perf_counter()
    plan = TrainingPlan(steps=options.steps, batch=options.batch, patch=PatchPlan())
    torch.manual_seed(plan.seed)
    constant = float(np.median([np.median(example.target[example.weight]) for example in examples["train"]]))
    net = build_net(CONTRACT.architecture, ARGUMENTS).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    torch.nn.init.constant_(net.head.bias, constant)
    net, losses = train(net, examples["train"], plan, lambda step, loss: print(step, f"{loss:.4f}", flush=True))
    minutes = (time.perf_counter() - started) / 60

    save_bundle(options.to, net, CONTRACT, "")
    predictor = make_predictor(options.to)
    fine = [example for example in examples["test"] if example.voxel_size == CONTRACT.voxel_size]
    held_out = {"validation": examples["validation"], "test": examples["test"], "test, 1.5 Å grid only": fine}
    evidence = Evidence(
        errors={name: held_out_errors(predictor, some, np.exp(constant)) for name, some in held_out.items()},
        real=real_maps(options.to, options.maps),
        training=provenance(plan, losses, minutes, rows, examples),
    )
    contract = replace(CONTRACT, training=evidence.summary())
    save_bundle(options.to, net, contract, evidence.card(contract))


if __name__ == "__main__":
    main()
