"""Whether a map is like those a net was trained on, by the numbers the net is told of it.

A net answers any map. Where a map's spectra lie outside everything its training held, the answer is a guess, and that
is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emres.model.condition import STRIPPED, blind

Array = np.ndarray[Any, Any]

_SHARE = 0.995  # of the training maps count as familiar
_DIRECTIONS = 12  # in which they vary most
_FLAT = 1e-3  # of the largest variation: there is none in this direction
_OUTER = 1.25  # times the distance of the farthest familiar one: beyond is unlike


def familiar_of(conditions: Array) -> dict[str, Any]:
    """Describe the maps of a training set: a centre, the directions in which they vary most, and how far they go.

    Parameters
    ----------
    conditions : (maps, LENGTH) float32
        From :func:`emres.model.condition.condition_of`, with nothing told of a reported resolution.

    Returns
    -------
    dict
        JSON values: ``centre``, ``directions`` (scaled to one standard deviation), ``rest`` (standard deviation of what
        is left), ``limit``.
    """
    values = _of_spectra(conditions)
    centre = values.mean(axis=0)
    _, scales, rows = np.linalg.svd(values - centre, full_matrices=False)
    count = max(1, min(_DIRECTIONS, int((scales > _FLAT * max(scales[0], 1e-3)).sum())))
    spread = np.maximum(scales[:count] / np.sqrt(len(values)), 1e-3)
    directions = rows[:count] / spread[:, None]
    found = {"centre": _rounded(centre), "directions": [_rounded(row) for row in directions], "rest": 1.0, "limit": 1.0}
    rest = [_parts(row, found)[1] for row in values]
    found["rest"] = float(f"{max(float(np.sqrt(np.mean(np.square(rest)))), 1e-3):.5g}")
    distances = np.sort([distance_of(row, found) for row in values])
    found["limit"] = float(f"{_OUTER * distances[int(_SHARE * (len(distances) - 1))]:.5g}")
    return found


def distance_of(condition: Array, familiar: Mapping[str, Any]) -> float:
    """Return how far a map is from the centre of a training set, in standard deviations."""
    along, rest = _parts(condition, familiar)
    return float(np.sqrt((along**2).mean() + (rest / familiar["rest"]) ** 2))


def unfamiliar(condition: Array, familiar: Mapping[str, Any]) -> list[str]:
    """Return a sentence if a map is unlike every map of a training set, else nothing.

    Parameters
    ----------
    condition : (LENGTH,) float32
    familiar : mapping
        From :func:`familiar_of`; empty if nothing is known of the training.
    """
    if not familiar:
        return []
    distance = distance_of(_of_spectra(blind(condition)), familiar)
    if distance <= familiar["limit"]:
        return []
    return [
        f"this map is unlike those the model was trained on ({distance:.1f} standard deviations off, familiar up to "
        f"{familiar['limit']:.1f}): check the answer against half maps, emres estimate --method fsc"
    ]


def _parts(condition: Array, familiar: Mapping[str, Any]) -> tuple[Array, float]:
    """Return a map's place along the directions, and how far off them it is."""
    off = np.asarray(condition, dtype=np.float64) - familiar["centre"]
    directions = np.asarray(familiar["directions"])
    along = directions @ off
    length = np.square(directions).sum(axis=1)
    return along, float(np.linalg.norm(off - (along / length) @ directions))


def _of_spectra(conditions: Array) -> Array:
    """Return what is compared: that a map is stripped is said apart."""
    return np.asarray(conditions, dtype=np.float64)[..., :STRIPPED]


def _rounded(values: Array) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
