"""Rates of a step: PyTorch's own cycle, and what every schedule promises."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emres.model.schedule import momentum_at, rate_at, set_rate
from emres.model.train_plan import SCHEDULES, TrainPlan


def test_one_cycle_is_pytorchs() -> None:
    plan = TrainPlan(steps=40, learning_rate=2e-3, warm_up=0.25)
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=40, pct_start=0.25)
    for step in range(40):
        group = optimizer.param_groups[0]
        assert rate_at(plan, step) == pytest.approx(group["lr"], rel=1e-9)
        assert momentum_at(plan, step) == pytest.approx(group["betas"][0], abs=1e-5)
        optimizer.step()
        if step < 39:
            schedule.step()


@given(st.sampled_from(SCHEDULES), st.integers(1, 300), st.floats(0, 0.99))
def test_rates_rise_to_the_highest_then_fall_to_nothing(schedule: str, steps: int, warm_up: float) -> None:
    plan = TrainPlan(steps=steps, learning_rate=0.5, schedule=schedule, warm_up=warm_up)
    rates = [rate_at(plan, step) for step in range(steps)]
    top = rates.index(max(rates))
    assert 0 < max(rates) <= 0.5
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    if steps > 2 and warm_up < 0.9:
        assert rates[-1] < 1e-3 * 0.5


def test_an_optimizer_is_given_the_rate_and_keeps_its_second_beta() -> None:
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], betas=(0.9, 0.98))
    plan = TrainPlan(steps=10, learning_rate=1.0, schedule="cosine", warm_up=0.0)
    assert set_rate(optimizer, plan, 0) == 1.0
    assert optimizer.param_groups[0]["lr"] == 1.0
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.98)
