"""What the level of a map is read from: readers that are told less, and their errors on the validation side.

    python workflows/ablate_levels.py SET                  # a data set that `emres dataset build` made
    python workflows/ablate_levels.py SET --into MODEL     # and note it in a bundle, for its card

A level is the median local resolution of a map. Every reader learns from the training side as the model's own does
(`emres.model.level_fit`), but some of what it is told is 0. Seeds are fixed; a reader takes a minute.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from emres.archive.manifest import read_dataset
from emres.model.augment import Augmentation
from emres.model.condition import CONTRAST, KNOWN, LENGTH, SHOWN, TOLD, blind
from emres.model.level import LevelReader
from emres.model.level_fit import WholeMap, fit_levels, level_examples
from emres.model.train_plan import TrainPlan
from emres.run.card import note_for_card
from emres.run.train_data import level_maps, training_stream, validation_stream
from emres.volume.spectrum import NYQUIST

NOISE = (*range(NYQUIST, KNOWN + 1), SHOWN, SHOWN + 1)
SPREAD = tuple(range(CONTRAST, SHOWN))
VOXELS = (KNOWN + 1, KNOWN + 2)
# What is left out, and the share of the training maps that is learnt from.
READERS: dict[str, tuple[tuple[int, ...], float]] = {
    "all": ((), 1.0),
    "half of the entries": ((), 0.5),
    "without voxel sizes": (VOXELS, 1.0),
    "without the noise beside the molecule": (NOISE, 1.0),
    "without differences from place to place": (SPREAD, 1.0),
    "spectrum alone": ((*NOISE, *SPREAD, *VOXELS), 1.0),
}


def main() -> None:
    """Fit and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--into", type=Path, metavar="MODEL", help="a bundle whose contract is to hold the table")
    parser.add_argument("--steps", type=int, default=1500)
    options = parser.parse_args()
    table = measured(options.dataset, options.steps)
    print(json.dumps(table, indent=2))
    if options.into is not None:
        note_for_card(options.into, {"error of levels, Å, validation side": table})


def measured(folder: Path, steps: int) -> dict[str, dict[str, float]]:
    """Return the mean error of levels, Å, of every reader: averages of half maps and deposits, blind and told."""
    dataset, plan = read_dataset(folder), TrainPlan().settled()
    stream, held = training_stream(dataset, plan), validation_stream(dataset, plan)
    if held is None:
        raise SystemExit("the validation side is empty")
    others = level_maps(held)
    average, size = (np.array(values) for values in zip(*map(_about, others), strict=True))
    told, truth = np.stack([one.told(Augmentation(told=1.0), 0) for one in others]), [one.level for one in others]
    maps = level_maps(stream)
    examples, of = level_examples(maps, stream.cut.augmentation, plan.seed)
    levels = np.array([one.level for one in maps])[of]
    entry = np.unique([one.entry for one in maps], return_inverse=True)[1]
    table = {}
    for name, (left_out, share) in READERS.items():
        some = entry[of] % round(1 / share) == 0  # versions of a model follow each other: half of those of each
        reader = LevelReader()
        fit_levels(reader, without(examples[some], left_out), levels[some], steps, plan.seed)
        row = {}
        for mode, conditions in (("blind", blind(told)), ("told", told)):
            with torch.inference_mode():
                read = reader.eval()(torch.from_numpy(without(conditions, left_out))).numpy()
            error = np.abs(np.exp(read) - np.exp(truth)) * size
            row |= {f"averages, {mode}": error[average].mean(), f"deposits, {mode}": error[~average].mean()}
        table[name] = {key: round(float(value), 3) for key, value in row.items()}
        print(name, table[name], flush=True)
    return table


def _about(one: WholeMap) -> tuple[bool, float]:
    """Return whether a map is an average of half maps, and the voxel size that its level is in."""
    return one.density == "average", one.facts.spectra.voxel_size


def without(conditions: np.ndarray, left_out: tuple[int, ...]) -> np.ndarray:
    """Return conditions, (n, LENGTH), with some of their numbers 0."""
    assert conditions.shape[1] == LENGTH
    assert TOLD not in left_out
    found = conditions.copy()
    found[:, list(left_out)] = 0
    return found


if __name__ == "__main__":
    main()
