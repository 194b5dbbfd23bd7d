"""The learning rate of every step: pure functions of the step, so that a schedule has no state to be kept."""

from __future__ import annotations

import math

import torch

from emres.model.train_plan import TrainPlan

_START, _END = 1 / 25, 1 / 25e4  # of the highest rate
_MOMENTA = (0.95, 0.85)  # of a cycle: at the lowest and at the highest rate
_USUAL_MOMENTUM = 0.9


def rate_at(plan: TrainPlan, step: int) -> float:
    """Return the learning rate of a step.

    ``one-cycle`` (Smith and Topin 2018, as PyTorch anneals it): up to the highest rate and down again, both along half
    a cosine. ``cosine``: up along a line, down along half a cosine.

    Parameters
    ----------
    plan : TrainPlan
        Settled.
    step : int
        From 0.

    Returns
    -------
    float

    Examples
    --------
    >>> plan = TrainPlan(steps=102, learning_rate=1.0, warm_up=0.5)
    >>> [round(rate_at(plan, step), 2) for step in (0, 25, 50, 101)]
    [0.04, 0.52, 1.0, 0.0]
    """
    up, along = _place(plan, step)
    lowest = _START if up else _END
    return float(plan.learning_rate or 0) * (lowest + (1 - lowest) * along)


def momentum_at(plan: TrainPlan, step: int) -> float:
    """Return the share of the mean gradient that a step keeps: low where the rate is high, in a cycle."""
    if plan.schedule != "one-cycle":
        return _USUAL_MOMENTUM
    low, high = _MOMENTA
    return low + (high - low) * _place(plan, step)[1]


def set_rate(optimizer: torch.optim.AdamW, plan: TrainPlan, step: int) -> float:
    """Give an optimizer the rate and the momentum of a step; return the rate."""
    rate = rate_at(plan, step)
    for group in optimizer.param_groups:
        group["lr"], group["betas"] = rate, (momentum_at(plan, step), group["betas"][1])
    return rate


def _place(plan: TrainPlan, step: int) -> tuple[bool, float]:
    """Return whether the rate still rises, and how high it is between its lowest and its highest."""
    top = max(plan.warm_up * plan.steps - 1, 0)
    if step < top:
        return True, step / top if plan.schedule == "cosine" else _half_cosine(step / top)
    return False, 1 - _half_cosine((step - top) / max(plan.steps - 1 - top, 1))


def _half_cosine(along: float) -> float:
    """Go from 0 to 1, flat at both ends."""
    return (1 - math.cos(math.pi * along)) / 2
