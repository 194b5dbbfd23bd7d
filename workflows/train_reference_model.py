"""The model that ships with emres, from atomic models to its card: data, training, measurement.

    python workflows/train_reference_model.py MODELS --real MAPS --to work             # the shipped model
    python workflows/train_reference_model.py MODELS --to work --count 1 --steps 300 --few 0   # a smaller one

MODELS holds atomic models and models.tsv (with their sequence families), MAPS real maps and maps.tsv. All of it can be
stopped and started again at any moment. WORK receives the data set, the model's bundle (WORK/emres-reference: use it
by --model) and its evaluation; every number of the card is measured here. Seeds are fixed: the same command on the same
machine gives the same weights.

On two CPU cores all of it took 1 h 36 min from nothing to its tables (2026-12-01, `--most 48 --few 12`, six stripped
averages of every pair where now four are made, on another processor than that of the shipped weights): data 18.5 min,
training 66, measuring 11. That model was as good as the shipped one: 0.34 and 0.31 Å on averages, blind and told, 0.40
and 0.35 on deposits. The smaller one took 22 minutes, and was off by 0.36 Å on averages of held-out pairs, blind and
told. No GPU is needed; where there is one, training uses it. Disk: 25 MB for each simulated pair of half maps.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

import emres
from emres.run.card import note_for_card
from emres.run.cluster import cores

NAME, VERSION = "emres-small", "1.0"
SETTINGS = {"averaging": 0.995, "weight_decay": 0.01, "evaluate_every": 200, "patience": 0, "seed": 0}
ABOUT = (
    "A compact conditioned U-Net, trained on simulated half maps alone. It starts from what small nets read off the "
    "axis of frequency, of all places of the molecule together and of the map as a whole: where the local power stops "
    "to differ from place to place (signal does, noise does not), where it comes down to the noise beside the "
    "molecule if that shows, where the spectrum breaks off, and what resolution the map's authors report if it is "
    "told. These learn from whole maps before any patch is seen, also from averages that were sharpened too far, "
    "blurred, low-passed elsewhere, masked, cut through or resampled, in one way or in several; the U-Net learns from "
    "the density itself what they miss, and how far off the answer may be, from readings of maps that their reader had "
    "not seen; then the readers of places learn once more, from all maps. How much is then added of what the U-Net "
    "learnt that they miss is weighed on validation maps (`share`). Maps of which all below their background was taken "
    "away, negative density or what lies below a contour, have readers of their own, which learn from such averages "
    "alone. "
    "`workflows/train_reference_model.py` makes the like from atomic models."
)
LIMITS = (
    "Weakest beyond some 10 Å, and where the map is masked or cropped and nothing is told. What a low-pass took from "
    "a map cannot be seen in it: a warning comes where its spectrum breaks off sharply near the answer. Crystals, "
    "tomograms, fibres and membranes other than simulated belts were not in the training. What the net is told was "
    "chosen on validation maps; earlier versions of such nets were looked at on the held-out and the real maps below, "
    "so that the figures are a little kinder than those of maps that nobody looked at."
)


def main() -> int:
    """Simulate, train, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, help="atomic models, and models.tsv")
    parser.add_argument("--real", type=Path, help="real maps, and maps.tsv")
    parser.add_argument("--to", type=Path, required=True, help="for everything that is made")
    parser.add_argument("--count", type=int, default=4, help="simulated pairs of half maps of every model")
    parser.add_argument("--deposits", type=int, default=3, help="processed versions of every pair")
    parser.add_argument("--recipe", help="of the simulation; drawn for every pair by default")
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--config", type=Path, help="TOML with other settings of the training")
    parser.add_argument("--most", type=int, help="test entries that are measured, at most")
    parser.add_argument("--workers", type=int, default=cores(), help="that simulate and read maps")
    parser.add_argument("--few", type=int, default=4, help="of these, whose maps are also changed and simulated anew")
    options = parser.parse_args()

    with emres.connect(f"local:{options.workers}") if options.workers > 1 else nullcontext() as client:
        dataset = emres.build_dataset(
            options.to / "set", simulate=options.models, count=options.count, deposits=options.deposits,
            recipe=options.recipe, targets="fsc", client=client,
        )  # fmt: skip
    for name, reasons in dataset.made["left_out"].items():
        print(f"left out: {name}: {'; '.join(reasons.values())}")

    model = options.to / "emres-reference"
    settings = SETTINGS | {"config": options.config, "name": NAME, "version": VERSION, "steps": options.steps}
    settings["map_readers"] = options.workers
    trained = emres.train(dataset, model, **settings, report=tell)
    print(f"trained: {trained['steps']} steps, {trained['mae']} Å on validation patches")
    note_for_card(model, {"about": ABOUT, "limits": LIMITS})

    found = emres.evaluate(
        model, dataset, real=options.real, to=options.to / "evaluation", most=options.most, few=options.few,
        models=options.models, card=model / "card.md", report=tell,
    )  # fmt: skip
    print(f"measured: {options.to / 'evaluation' / 'evaluation.md'}; failed: {found['failed'] or 'none'}")
    return 1 if found["failed"] else 0


def tell(name: str, stage: str, done: int, total: int) -> None:
    """Print a line for every hundred steps, and for every map."""
    if stage != "train" or done % 100 == 0 or done == total:
        print(f"{name}: {stage} {done}/{total}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
