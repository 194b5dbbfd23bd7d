"""The training loop: one function that reads top to bottom.

Loss: smooth L1 on log(local resolution / voxel size), inside the molecule only. The weights that are kept are an
exponential moving average: batch statistics before the learning rate has settled evaluate badly.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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
class TrainingPlan:
    """How long and how fast to learn.

    Parameters
    ----------
    steps, batch : int
    patch : int
        Side of a training patch, voxels.
    margin : int
        Voxels from a patch's faces that do not count: the net lacks context there.
    learning_rate, weight_decay : float
        Of AdamW, at the top of a one-cycle schedule.
    clip : float
        Largest norm of a gradient.
    averaging : float
        Share of the moving average that a step keeps.
    gain : float
        Standard deviation of the logarithm of a random gain on each patch: no mask is ever quite right.
    seed : int
    """

    steps: int = 600
    batch: int = 8
    patch: int = 48
    margin: int = 8
    learning_rate: float = 4e-3
    weight_decay: float = 1e-4
    clip: float = 1.0
    averaging: float = 0.99
    gain: float = 0.15
    seed: int = 0


def train(
    net: nn.Module,
    examples: Sequence[Example],
    plan: TrainingPlan,
    on_step: Callable[[int, float], None] | None = None,
) -> tuple[nn.Module, list[float]]:
    """Train a net.

    Parameters
    ----------
    net : torch.nn.Module
        Maps (batch, 1, z, y, x) density to log(local resolution / voxel size); its own weights change too.
    examples : sequence of Example
    plan : TrainingPlan
    on_step : callable, optional
        Called with the step and its loss.

    Returns
    -------
    (torch.nn.Module, list of float)
        The averaged net in evaluation mode, and the loss of every step.
    """
    torch.manual_seed(plan.seed)
    rng = np.random.default_rng(plan.seed)
    average = copy.deepcopy(net).eval()
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.learning_rate, total_steps=plan.steps, pct_start=0.2)
    losses = []
    for step in range(plan.steps):
        density, target, weight = draw_batch(examples, plan, rng)
        loss = in_mask_loss(net(density), target, weight)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), plan.clip)
        optimizer.step()
        schedule.step()
        _follow(average, net, plan.averaging if step > 1 / (1 - plan.averaging) else 0.9)
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, losses[-1])
    return average, losses


def in_mask_loss(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the smooth L1 loss where the weight is 1; every patch of the batch counts alike."""
    each = nn.functional.smooth_l1_loss(prediction, target, beta=0.1, reduction="none") * weight
    return (each.sum((1, 2, 3, 4)) / weight.sum((1, 2, 3, 4)).clamp_min(1)).mean()


def draw_batch(examples: Sequence[Example], plan: TrainingPlan, rng: np.random.Generator) -> tuple[Tensor, ...]:
    """Draw patches at random: (batch, 1, patch, patch, patch) density, target and weight, float32."""
    chosen = rng.integers(len(examples), size=plan.batch)
    patches = [draw_patch(examples[k], plan, rng) for k in chosen]
    density, target, weight = (torch.from_numpy(np.stack(parts)[:, None]) for parts in zip(*patches, strict=True))
    return density, target, weight


def draw_patch(example: Example, plan: TrainingPlan, rng: np.random.Generator) -> tuple[Array, ...]:
    """Cut one patch round a random voxel of the molecule, turn it at random, change its gain."""
    variant = int(rng.integers(len(example.densities)))
    inside = np.argwhere(example.weight)
    centre = inside[rng.integers(len(inside))] + rng.integers(-plan.patch // 4, plan.patch // 4 + 1, size=3)
    parts = [_cut(part, centre, plan.patch) for part in (example.densities[variant], example.target, example.weight)]
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


# Orders and signs of the three axes whose matrix has determinant +1: the 24 rotations of a cube.
ROTATIONS = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
    if round(np.linalg.det(np.eye(3)[list(order)] * signs)) == 1
]


def rotated(values: Array, turn: int) -> Array:
    """Return one of the 24 rotations of a (z, y, x) cube, as a view."""
    order, signs = ROTATIONS[turn]
    return values.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]


def _follow(average: nn.Module, net: nn.Module, keep: float) -> None:
    """Move the averaged weights and running statistics towards the net's."""
    with torch.no_grad():
        for mine, other in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(other, 1 - keep)
            else:
                mine.copy_(other)
