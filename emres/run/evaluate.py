"""How well a model does, measured by the code that ships: on held-out examples and on real maps, beside baselines."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage, stats

from emres.archive.mrc import read_mrc
from emres.errors import MapError

if TYPE_CHECKING:
    from emres.model.evaluate import MapErrors
    from emres.model.inference import BlockPredictor
    from emres.model.patches import Example

Array = np.ndarray[Any, Any]

FINEST = 1.5
# Local over global resolution in simulated maps, as a median; ../shared/science.md of the project's data.
LOCAL_OVER_GLOBAL = 1.13
ROWS = (
    "model, plain average",
    "model, processed",
    "own median (constant)",
    "training median (constant)",
    "minus local rms (rank only)",
)


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

    table: dict[str, list[MapErrors]] = {name: [] for name in ROWS}
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
        for name, errors in zip(ROWS, row, strict=True):
            table[name].append(errors)
    nan = float("nan")
    table[ROWS[4]] = [
        replace(errors, mae=nan, rmse=nan, median_error=nan, within_half=nan, within_one=nan)
        for errors in table[ROWS[4]]
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
