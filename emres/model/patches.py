"""Examples on disk, and training patches cut from them at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emres.model.augment import ROTATIONS as ROTATIONS
from emres.model.augment import rotated as rotated

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Example:
    """One map with the answer.

    Parameters
    ----------
    name : str
    family : str
        Sequence family of its model: examples of one family stay on one side of a split.
    voxel_size : float
        Å of the working grid it lies on.
    densities : (variants, z, y, x) float16
        The same half maps, processed in different ways and normalised.
    target : (z, y, x) float16
        log(local resolution / voxel size).
    weight : (z, y, x) bool
        Where the target counts.
    """

    name: str
    family: str
    voxel_size: float
    densities: Array
    target: Array
    weight: Array


@dataclass(frozen=True)
class PatchPlan:
    """What a training patch is like.

    Parameters
    ----------
    side : int
        Voxels; a multiple of the net's.
    margin : int
        Voxels from a patch's faces that do not count: the net lacks context there.
    gain : float
        Standard deviation of the logarithm of a random gain: no mask is ever quite right, and the scale depends on it.
    """

    side: int = 32
    margin: int = 4
    gain: float = 0.15


def write_example(path: Path | str, example: Example) -> None:
    """Write an example as a ``.npz``."""
    named = {"name": example.name, "family": example.family, "voxel_size": example.voxel_size}
    arrays = {"densities": example.densities, "target": example.target, "weight": np.packbits(example.weight)}
    partial = Path(f"{path}.partial")
    with partial.open("wb") as file:
        np.savez(file, **named, **arrays)  # type: ignore[arg-type]
    partial.replace(path)


def read_example(path: Path | str) -> Example:
    """Read what :func:`write_example` wrote; nothing in the file is executed."""
    with np.load(path, allow_pickle=False) as held:
        target = held["target"]
        weight = np.unpackbits(held["weight"], count=target.size).reshape(target.shape).astype(bool)
        return Example(
            str(held["name"]), str(held["family"]), float(held["voxel_size"]), held["densities"], target, weight
        )


def draw_batch(
    examples: Sequence[Example], batch: int, plan: PatchPlan, rng: np.random.Generator
) -> tuple[Tensor, ...]:
    """Draw patches at random: (batch, 1, side, side, side) density, target and weight, float32."""
    chosen = rng.integers(len(examples), size=batch)
    patches = [draw_patch(examples[k], plan, rng) for k in chosen]
    density, target, weight = (torch.from_numpy(np.stack(parts)[:, None]) for parts in zip(*patches, strict=True))
    return density, target, weight


def draw_patch(example: Example, plan: PatchPlan, rng: np.random.Generator) -> tuple[Array, ...]:
    """Cut one patch round a random voxel of the molecule, turn it at random, change its gain."""
    variant = int(rng.integers(len(example.densities)))
    inside = np.argwhere(example.weight)
    centre = inside[rng.integers(len(inside))] + rng.integers(-plan.side // 4, plan.side // 4 + 1, size=3)
    parts = [_cut(part, centre, plan.side) for part in (example.densities[variant], example.target, example.weight)]
    counted = np.zeros_like(parts[2])
    counted[(slice(plan.margin, -plan.margin),) * 3] = 1
    parts[0] *= np.float32(np.exp(plan.gain * rng.normal()))
    parts[2] *= counted
    turn = int(rng.integers(24))
    return tuple(np.ascontiguousarray(rotated(part, turn)) for part in parts)


def _cut(values: Array, centre: Array, side: int) -> Array:
    """Return a float32 cube round a voxel, zeros beyond the faces."""
    cube = np.zeros((side,) * 3, dtype=np.float32)
    start = centre - side // 2
    low, high = np.maximum(start, 0), np.minimum(start + side, values.shape)
    if (high > low).all():
        held = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        cube[tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))] = values[held]
    return cube
