"""The training loop: one function that reads top to bottom.

Loss: smooth L1 on log(local resolution / voxel size), inside the molecule only. The weights that are kept are an
exponential moving average: batch statistics before the learning rate has settled evaluate badly.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from emres.model.patches import Example, PatchPlan, draw_batch


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast to learn.

    Parameters
    ----------
    steps, batch : int
    patch : PatchPlan
    learning_rate, weight_decay : float
        Of AdamW, at the top of a one-cycle schedule.
    clip : float
        Largest norm of a gradient.
    averaging : float
        Share of the moving average that a step keeps.
    seed : int
    """

    steps: int = 1000
    batch: int = 16
    patch: PatchPlan = field(default_factory=PatchPlan)
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    clip: float = 1.0
    averaging: float = 0.99
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
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.learning_rate, total_steps=plan.steps, pct_start=0.1)
    losses = []
    for step in range(plan.steps):
        density, target, weight = draw_batch(examples, plan.batch, plan.patch, rng)
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


def _follow(average: nn.Module, net: nn.Module, keep: float) -> None:
    """Move the averaged weights and running statistics towards the net's."""
    with torch.no_grad():
        for mine, other in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(other, 1 - keep)
            else:
                mine.copy_(other)
