"""A model's card and the provenance in its contract: whatever is a number there was measured, none is typed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.run.dataset import SPLITS, ModelRow
from emres.run.evaluate import LOCAL_OVER_GLOBAL, ROWS, RealMap, real_map_summary

if TYPE_CHECKING:
    from emres.model.contract import Contract
    from emres.model.evaluate import MapErrors
    from emres.model.first_train import TrainingPlan
    from emres.model.patches import Example


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
            parts.append(f"### {name}: {count} maps\n\n{_held_out_table(table)}\n\n{verdict(table)}\n")
        return "\n".join([*parts, _real_table(self.real), _LIMITS])

    def _means(self) -> dict[str, dict[str, dict[str, float]]]:
        from emres.model.evaluate import mean_errors

        return {
            name: {row: mean_errors(errors) for row, errors in table.items()} for name, table in self.errors.items()
        }


def _rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in numbers.items() if np.isfinite(value)}


def verdict(table: Mapping[str, Mapping[str, float]]) -> str:
    """Return in one sentence what a table of mean errors says about the model.

    Parameters
    ----------
    table : dict
        Means by the row names of :func:`held_out_errors`.

    Returns
    -------
    str
    """
    model, own, trained, rank = (table[name] for name in (ROWS[0], *ROWS[2:]))
    ratio, level = model["mae"] / own["mae"], model["mae"] / trained["mae"]
    pattern = "better" if model["spearman"] > rank["spearman"] else "worse"
    return (
        f"The model's error on plain averages is {level:.2f} times that of the training constant and {ratio:.2f} times "
        f"that of each map's own median{' (which beats it)' if ratio > 1 else ''}; within a map it ranks voxels "
        f"{pattern} than minus the local rms does."
    )


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
        f"values: {means['spearman']:.2f} for the medians, {means['spearman_of_voxel_size']:.2f} for the voxel size "
        "alone.",
        "",
    ])  # fmt: skip


_ABOUT = """\
# {contract.name_version}

A first, small model: local resolution (Å per voxel) of a cryo-EM map from the map alone. It was trained on simulated
half maps only, in minutes, so that the rest of emres has something real to run. Do not publish its numbers.

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
