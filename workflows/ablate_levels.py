"""What the level of a map is read from: readers that are told less, and their errors on the validation side.

    python workflows/ablate_levels.py SET                  # a data set that `emres dataset build` made
    python workflows/ablate_levels.py SET --into MODEL     # and what a bundle's U-Net adds; noted in it, for its card

A level is the median local resolution of a map. Every reader learns from the training side as the model's own does
(`emres.model.level_fit`, `emres.model.place_fit`), but some of what it is told is left out, or some of the maps. Seeds
are fixed; a reader takes one to three minutes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from emres.archive.manifest import read_dataset
from emres.model.augment import Augmentation
from emres.model.bundle import open_bundle
from emres.model.condition import CONTRAST, KNOWN, LENGTH, SHOWN, TOLD, blind
from emres.model.level import LevelReader
from emres.model.level_fit import WholeMap, fit_levels, level_examples
from emres.model.loader import PatchStream
from emres.model.place import PlaceReader
from emres.model.place_fit import PlaceExamples, fit_places
from emres.model.ranks import Ranks
from emres.model.train_plan import TrainPlan
from emres.model.validation import Validation
from emres.run.card import note_for_card
from emres.run.handled_maps import HANDLED
from emres.run.train_data import training_stream, validation_stream
from emres.run.train_lessons import handled_examples, level_maps, place_examples
from emres.run.train_readers import read_maps
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


@dataclass(frozen=True)
class Variant:
    """What a reader of places does without.

    Parameters
    ----------
    left_out : tuple of int
        Numbers of the whole map.
    change : callable
        What is done to curves, (n, 2, 44).
    averages_alone : bool
        Whether it learns from nothing that a depositor did.
    handled : bool
        Whether it learns from averages that more became of.
    """

    left_out: tuple[int, ...] = ()
    change: Callable[[np.ndarray], np.ndarray] = lambda curves: curves
    averages_alone: bool = False
    handled: bool = True

    def learns_from(self, one: WholeMap) -> bool:
        """Whether it learns from a map."""
        if one.density.startswith("handled"):
            return self.handled
        return one.density == "average" or not self.averages_alone

    def seen(self, one: PlaceExamples) -> PlaceExamples:
        """Return what it sees of a map."""
        return PlaceExamples(self.change(one.curves.astype(np.float32)), one.levels)


CORE, SKIRT = np.array([1, 0])[:, None], np.array([0, 1])[:, None]
PLACE_READERS = {
    "all": Variant(),
    "without the skirt of the window": Variant(change=lambda curves: curves * CORE),
    "without its core": Variant(change=lambda curves: curves * SKIRT),
    "nothing of the place": Variant(change=np.zeros_like),
    "curves about their own mean": Variant(change=lambda curves: curves - curves.mean(2, keepdims=True)),
    "without voxel sizes": Variant(VOXELS),
    "without differences from place to place in the map": Variant(SPREAD),
    "learnt from deposits and averages alone": Variant(handled=False),
    "learnt from averages alone": Variant(averages_alone=True, handled=False),
}


def main() -> None:
    """Fit and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--into", type=Path, metavar="MODEL", help="a bundle whose contract is to hold the table")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument(
        "--place-steps", type=int, default=1500, help="the model's own, two of them, learn 2500 and then 5000"
    )
    options = parser.parse_args()
    tables = {
        _title("one reader of places", options.place_steps): places_measured(options.dataset, options.place_steps),
        _title("levels", options.steps): measured(options.dataset, options.steps),
    }
    print(json.dumps(tables, indent=2))
    if options.into is not None:
        reach = "error of what is answered from farther and nearer round a voxel, Å, patches of the validation side"
        tables[reach] = net_measured(options.dataset, options.into)
        note_for_card(options.into, tables)


def _title(what: str, steps: int) -> str:
    return f"error of {what}, learnt in {steps} steps, Å, validation side"


def measured(folder: Path, steps: int) -> dict[str, dict[str, float]]:
    """Return the mean error of levels, Å, of every reader: averages of half maps and deposits, blind and told."""
    dataset, plan = read_dataset(folder), TrainPlan().settled()
    stream, held = training_stream(dataset, plan), validation_stream(dataset, plan)
    if held is None:
        raise SystemExit("the validation side is empty")
    others = level_maps(held)
    average, size = (np.array(values) for values in zip(*map(_about, others), strict=True))
    told, truth = np.stack([one.told(Augmentation(told=1.0), 0) for one in others]), [one.level for one in others]
    maps = _learnt_from(stream, plan)
    examples, of = level_examples(maps, stream.cut.augmentation, plan.seed)
    levels = np.array([one.level for one in maps])[of]
    entry = np.unique([one.entry for one in maps], return_inverse=True)[1]
    table = {}
    for name, (left_out, share) in READERS.items():
        some = entry[of] % round(1 / share) == 0  # versions of a model follow each other: half of those of each
        torch.manual_seed(plan.seed)
        reader = LevelReader()
        fit_levels(reader, without(examples[some], left_out), levels[some], steps, plan.seed)
        reader.eval()

        def errors(given: np.ndarray, reader: LevelReader = reader, left_out: tuple[int, ...] = left_out) -> np.ndarray:
            with torch.inference_mode():
                read = reader(torch.from_numpy(without(given, left_out))).numpy()
            return np.asarray(np.abs(np.exp(read) - np.exp(truth)) * size)

        table[name] = _row(name, told, average, errors)
    return table


def _row(
    name: str, told: np.ndarray, average: np.ndarray, errors: Callable[[np.ndarray], np.ndarray]
) -> dict[str, float]:
    """Return the mean error of a reader, Å: of averages and deposits, blind and told; and print it."""
    row = {}
    for mode, given in (("blind", blind(told)), ("told", told)):
        error = errors(given)
        row |= {f"averages, {mode}": error[average].mean(), f"deposits, {mode}": error[~average].mean()}
    found = {key: round(float(value), 3) for key, value in row.items()}
    print(name, found, flush=True)
    return found


def places_measured(folder: Path, steps: int) -> dict[str, dict[str, float]]:
    """Return the mean error, Å, of readers of places: first over the places of a map, then over maps."""
    dataset, plan = read_dataset(folder), TrainPlan().settled()
    stream, held = training_stream(dataset, plan), validation_stream(dataset, plan)
    if held is None:
        raise SystemExit("the validation side is empty")
    maps, (others, truth) = _learnt_from(stream, plan), _with_places(held)
    conditions, of = level_examples(maps, stream.cut.augmentation, plan.seed)
    examples = place_examples(stream, maps, plan.seed)
    average, size = (np.array(values) for values in zip(*map(_about, others), strict=True))
    told = np.stack([one.told(Augmentation(told=1.0), 0) for one in others])
    table = {}
    for name, variant in PLACE_READERS.items():
        torch.manual_seed(plan.seed)
        reader = PlaceReader(members=1)
        known = [
            variant.seen(found) if found and variant.learns_from(one) else None
            for one, found in zip(maps, examples, strict=True)
        ]
        fit_places(reader, known, without(conditions, variant.left_out), of, steps, plan.seed)
        reader.eval()

        def errors(given: np.ndarray, reader: PlaceReader = reader, variant: Variant = variant) -> np.ndarray:
            seen = [variant.seen(one) for one in truth]
            return _errors(reader, without(given, variant.left_out), seen, size)

        table[name] = _row(name, told, average, errors)
    return table


class Alone(nn.Module):
    """Answers what was read of a map before its U-Net looked at any voxel.

    Parameters
    ----------
    pattern : bool
        Of every place, or of the map as a whole.
    """

    conditioned = patterned = True

    def __init__(self, pattern: bool) -> None:
        super().__init__()
        self.pattern = pattern

    def forward(self, density: torch.Tensor, condition: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
        """Return the levels, (batch, 1, z, y, x)."""
        return condition[:, LENGTH:, None, None, None] + pattern * self.pattern


def net_measured(folder: Path, model: Path) -> dict[str, dict[str, float]]:
    """Return the mean error, Å, on validation patches, of a bundle and of its readers alone."""
    dataset, plan, bundle = read_dataset(folder), TrainPlan().settled(), open_bundle(model)
    nets = {
        "the level of the whole map": Alone(pattern=False),
        "levels of places: a window and its skirt": Alone(pattern=True),
        f"with the U-Net: {bundle.contract.halo} voxels": bundle.net.eval(),
    }
    table: dict[str, dict[str, float]] = {name: {} for name in nets}
    for mode, share in (("blind", 0.0), ("told", 1.0)):
        held = validation_stream(dataset, replace(plan, augmentation=Augmentation(told=share)))
        assert held is not None
        read_maps(bundle.net, held, lambda moment: None)
        looked = Validation(list(held.batches(0, 1)), len(dataset.side("validation")), bundle.contract, Ranks())
        for name, net in nets.items():
            table[name][mode] = round(looked(net)["mae"], 3)
    print(table, flush=True)
    return table


def _learnt_from(stream: PatchStream, plan: TrainPlan) -> list[WholeMap]:
    maps = level_maps(stream)
    return maps + handled_examples(stream, maps, {HANDLED: plan.handled}, lambda moment: None)


def _with_places(stream: PatchStream) -> tuple[list[WholeMap], list[PlaceExamples]]:
    maps = level_maps(stream)
    pairs = [(one, found) for one, found in zip(maps, place_examples(stream, maps, 0), strict=True) if found]
    return [one for one, _ in pairs], [found for _, found in pairs]


def _errors(reader: PlaceReader, conditions: np.ndarray, truth: list[PlaceExamples], size: np.ndarray) -> np.ndarray:
    errors = []
    with torch.inference_mode():
        for told, one, voxel_size in zip(conditions, truth, size, strict=True):
            curves = torch.from_numpy(one.curves.astype(np.float32))[None]
            found = reader(torch.from_numpy(told)[None], curves)[0].numpy()
            errors.append(float(np.nanmean(np.abs(np.exp(found) - np.exp(one.levels)))) * voxel_size)
    return np.array(errors)


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
