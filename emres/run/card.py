"""What a model's card says: measured by the shipped code on held-out examples and on real maps, never typed by hand."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage, stats

from emres.archive.mrc import read_mrc
from emres.errors import MapError
from emres.run.dataset import SPLITS, ModelRow

if TYPE_CHECKING:
    from emres.model.contract import Contract
    from emres.model.evaluate import MapErrors
    from emres.model.inference import BlockPredictor
    from emres.model.patches import Example
    from emres.model.train import TrainingPlan

Array = np.ndarray[Any, Any]

FINEST = 1.5
# Local over global resolution in simulated maps, as a median; ../shared/science.md of the project's data.
LOCAL_OVER_GLOBAL = 1.13


@dataclass(frozen=True)
class RealMap:
    """A deposited map with the resolution its authors report, and what the model says."""

    file: str
    emdb_id: str
    voxel_size: float
    working_voxel_size: float
    reported: float
    median: float


def held_out_errors(
    predictor: BlockPredictor, examples: Sequence[Example], constant: float
) -> dict[str, list[MapErrors]]:
    """Measure a model and the baselines on held-out examples.

    Parameters
    ----------
    predictor : BlockPredictor
        Of the shipped bundle.
    examples : sequence of Example
        On whatever working grid: Å are counted as if it were the finest.
    constant : float
        Median target of the training examples, voxels.

    Returns
    -------
    dict
        One list with an entry per map for: the model on the plain average and on processed maps, the map's own
        median as a constant, the training constant, and the rank of minus the local rms.
    """
    from emres.model.evaluate import map_errors

    names = ("model, plain average", "model, processed", "own median (constant)", "training median (constant)",
             "minus local rms (rank only)")  # fmt: skip
    table: dict[str, list[MapErrors]] = {name: [] for name in names}
    for example in examples:
        target = np.exp(example.target.astype(np.float32)) * FINEST
        counted = example.weight & (target > 2.02 * FINEST) & (target < 12 * FINEST)
        if counted.sum() < 300:
            continue
        answers = [predictor(density.astype(np.float32), counted) for density in example.densities]
        processed = [map_errors(answer, target, counted) for answer in answers[1:]]
        rms = -ndimage.gaussian_filter(example.densities[0].astype(np.float32) ** 2, 3)
        row = (map_errors(answers[0], target, counted), _averaged(processed),
               map_errors(float(np.median(target[counted])), target, counted),
               map_errors(constant * FINEST, target, counted),
               map_errors(rms, target, counted))  # fmt: skip
        for name, errors in zip(names, row, strict=True):
            table[name].append(errors)
    nan = float("nan")
    table[names[4]] = [
        replace(errors, mae=nan, rmse=nan, median_error=nan, within_half=nan, within_one=nan)
        for errors in table[names[4]]
    ]
    return table


def _averaged(errors: list[MapErrors]) -> MapErrors:
    from emres.model.evaluate import MapErrors, mean_errors

    means = mean_errors(errors)
    voxels = int(means.pop("voxels"))
    return MapErrors(**means, voxels=voxels)


def real_maps(model: Path | str, folder: Path | str) -> list[RealMap]:
    """Predict the real maps whose resolution is reported, blind, by the public ``emres.predict``.

    Parameters
    ----------
    model : path
        Folder of a bundle.
    folder : path
        Holds ``maps.tsv`` and the maps that it names.

    Returns
    -------
    list of RealMap
        Maps that are no single-particle maps (anisotropic crystals) or unusable are left out.
    """
    from emres.model.contract import read_contract
    from emres.run.lazy import predict

    with (Path(folder) / "maps.tsv").open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if _is_number(row["reported_resolution_A"])]
    found, contract = [], read_contract(model)
    for row in rows:
        volume = read_mrc(Path(folder) / row["file"])
        sizes = volume.attrs["voxel_size"]
        if max(sizes) > 1.02 * min(sizes) or volume.size > 2e7:
            continue
        try:
            answer = predict(volume, model).values
        except MapError:
            continue
        reported, size = float(row["reported_resolution_A"]), float(sizes[0])
        median = float(np.median(answer[answer > 0]))
        found.append(RealMap(row["file"], row["emdb_id"], size, contract.working_voxel_size(size), reported, median))
    return found


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", text) is not None


def real_map_summary(maps: Sequence[RealMap]) -> dict[str, float]:
    """Compare the medians with 1.13 times the reported resolution, and two constants chosen on these very maps.

    Returns
    -------
    dict
        ``maps``; mean absolute error (Å) of the model (``mean_error``), of the best constant in Å
        (``best_constant_error``) and of the best constant in working voxels (``best_multiple_error``: what the voxel
        size alone tells); ``spearman`` of the medians and of the maps' voxel size (``spearman_of_voxel_size``).
    """
    expected = np.array([LOCAL_OVER_GLOBAL * entry.reported for entry in maps])
    medians, voxels = np.array([(entry.median, entry.working_voxel_size) for entry in maps]).T
    multiples = np.linspace(2, 8, 121)[:, None] * voxels
    return {
        "maps": float(len(maps)),
        "mean_error": float(np.abs(medians - expected).mean()),
        "best_constant_error": float(np.abs(np.median(expected) - expected).mean()),
        "best_multiple_error": float(np.abs(multiples - expected).mean(axis=1).min()),
        "spearman": float(stats.spearmanr(medians, expected).statistic),
        "spearman_of_voxel_size": float(stats.spearmanr([entry.voxel_size for entry in maps], expected).statistic),
    }


def provenance(
    plan: TrainingPlan,
    losses: Sequence[float],
    minutes: float,
    rows: Sequence[ModelRow],
    examples: Mapping[str, Sequence[Example]],
) -> dict[str, Any]:
    """Return where weights come from, as JSON values: plan, split, length, software."""
    import torch

    last = max(1, len(losses) // 20)
    return {
        "plan": asdict(plan),
        "loss": {"first": round(float(np.mean(losses[:last])), 4), "last": round(float(np.mean(losses[-last:])), 4)},
        "minutes": round(minutes, 1),
        "hardware": f"CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "examples": {split: len(some) for split, some in examples.items()},
        "families": {split: sorted({row.family for row in rows if row.split == split}, key=int) for split in SPLITS},
    }


@dataclass(frozen=True)
class Evidence:
    """Everything that was measured of a model.

    Parameters
    ----------
    errors : dict
        Table of :func:`held_out_errors` by the name of the set of examples.
    real : sequence of RealMap
    training : dict
        From :func:`provenance`.
    """

    errors: Mapping[str, Mapping[str, Sequence[MapErrors]]]
    real: Sequence[RealMap]
    training: Mapping[str, Any]

    def summary(self) -> dict[str, Any]:
        """Return what the contract keeps: provenance and the means, as JSON values."""
        held_out = {
            name: {row: _rounded(numbers) for row, numbers in table.items()} for name, table in self._means().items()
        }
        return {**self.training, "held_out": held_out, "real_maps": _rounded(real_map_summary(self.real))}

    def card(self, contract: Contract) -> str:
        """Return the model card, Markdown."""
        parts = [_ABOUT.format(contract=contract, training=self.training)]
        for name, table in self._means().items():
            count = len(next(iter(self.errors[name].values())))
            parts.append(f"### {name}: {count} maps\n\n{_held_out_table(table)}\n")
        return "\n".join([*parts, _real_table(self.real), _LIMITS])

    def _means(self) -> dict[str, dict[str, dict[str, float]]]:
        from emres.model.evaluate import mean_errors

        return {
            name: {row: mean_errors(errors) for row, errors in table.items()} for name, table in self.errors.items()
        }


def _rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in numbers.items() if np.isfinite(value)}


def _held_out_table(table: Mapping[str, Mapping[str, float]]) -> str:
    from emres.model.evaluate import markdown_table

    return markdown_table(table, ["mae", "rmse", "spearman", "median_error", "within_half", "within_one"])


def _real_table(maps: Sequence[RealMap]) -> str:
    lines = [
        f"| {entry.emdb_id} | {entry.file} | {entry.voxel_size:.2f} | {entry.reported:g} | {entry.median:.2f} |"
        for entry in sorted(maps, key=lambda entry: entry.reported)
    ]
    means = real_map_summary(maps)
    return "\n".join([
        "## Real maps, blind",
        "",
        "Only the map itself is given; automatic mask. Reported = global resolution from the authors, Å.",
        "",
        "| entry | file | voxel size | reported | median predicted |",
        "|---|---|---|---|---|",
        *lines,
        "",
        f"Mean |median - {LOCAL_OVER_GLOBAL} x reported| over {means['maps']:.0f} maps: {means['mean_error']:.2f} Å; "
        f"the best constant, chosen on these very maps, has {means['best_constant_error']:.2f} Å, "
        f"the best multiple of the working voxel size {means['best_multiple_error']:.2f} Å. Spearman with the reported "
        f"values: {means['spearman']:.2f} for the medians, {means['spearman_of_voxel_size']:.2f} for the voxel size alone.",
        "",
    ])  # fmt: skip


_ABOUT = """\
# {contract.name_version}

A first, small model: local resolution (Å per voxel) of a cryo-EM map from the map alone. It was trained on simulated
half maps only, in minutes, so that the rest of emres has something real to run. Take its pattern (where a map is
finer, where coarser) more seriously than its level.

* Input: density, centred by its median outside and scaled by its rms inside the mask, on a grid of
  {contract.voxel_size} Å (or 2, 4, 8 times that for coarser maps).
* Output: between {contract.valid_range[0]:g} and {contract.valid_range[1]:g} voxels of that grid.
* Target: dense local FSC of the two half maps at 0.143 (`emres.estimators.fsc.dense_fsc`), window 24 voxels or four
  times the map's resolution.
* Net: compact U-Net {contract.arguments}, block-exact with a halo of {contract.halo} voxels.
* Training: {training[examples][train]} simulated pairs of half maps in four versions each (average as it is; the others
  FSC-weighted, sharpened, low-passed, masked at random), {training[plan][steps]} steps, {training[minutes]} minutes on
  {training[hardware]}. Models are split by sequence family; the lists are in `contract.json`.

## Held-out simulated maps

Families that the training never saw; per map first, then the mean over maps. Å, maps on coarser grids counted as if
they lay on the 1.5 Å grid; voxels at the target's clip values left out; inside the molecule.
"""

_LIMITS = """\
## Where it fails

* Nothing finer than 3 Å: its finest grid is 1.5 Å. Maps at 2-3 Å come out near 3 Å or above.
* The level of real maps: simulation does not cover how maps are made and processed. The table above says how far off.
* Crystals, anisotropic voxels, tomograms, membranes and micelles, fibres: not in the training.
* No uncertainty, and no warning when a map is unlike the training data.
* Some of the real maps above show proteins whose atomic models were among the training's; the maps themselves were not.
"""
