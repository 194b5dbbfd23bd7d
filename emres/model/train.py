"""The training loop: one function that reads top to bottom.

A step is a pure function of what came before and of its number: which patches it sees, its learning rate and its random
numbers follow from the plan's seed and the step. So a training that was killed goes on from its last checkpoint as if
nothing had happened.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from emres.errors import ModelError
from emres.model.contract import Contract
from emres.model.loader import Batch
from emres.model.losses import ask, in_mask_loss, truth_of
from emres.model.ranks import Ranks
from emres.model.schedule import set_rate
from emres.model.train_plan import TrainPlan
from emres.model.train_state import TrainState
from emres.model.validation import Validation

_BETWEEN = 10  # steps between two losses that a GPU is asked for: each makes it wait


@dataclass(frozen=True)
class Moment:
    """What there is to tell of a training.

    Parameters
    ----------
    step, steps : int
    loss, rate : float
        Of the last step; 0 where nothing learns.
    mae, best : float, optional
        Å, in the molecule, on the validation patches: of the last look, and the lowest.
    what : str
        Whose steps: of the net, or of what learns and is read before it.
    """

    step: int
    steps: int
    loss: float
    rate: float
    mae: float | None = None
    best: float | None = None
    what: str = "steps"


class Keeper(Protocol):
    """What keeps a training: in one of several processes, files; in the others nothing."""

    def told(self, moment: Moment) -> None:
        """Take note of steps made."""

    def checkpoint(self, state: TrainState) -> None:
        """Keep where it stands."""

    def looked(self, state: TrainState) -> None:
        """Take note of a look at the validation patches."""


def train(
    state: TrainState,
    batches: Callable[[int], Iterable[Batch]],
    plan: TrainPlan,
    contract: Contract,
    validation: Validation,
    keeper: Keeper,
    ranks: Ranks,
) -> None:
    """Train a net until its plan is done, or its error does not fall any more.

    Parameters
    ----------
    state : TrainState
        Where to begin; it is where the training ended afterwards.
    batches : callable
        From a step on: this process' share of the batch of every step, on its device.
    plan : TrainPlan
        Settled.
    contract : Contract
        What the net says.
    validation : Validation
    keeper : Keeper
    ranks : Ranks

    Raises
    ------
    ModelError
        If the loss is no number any more; the last checkpoint stays.
    """
    net = ranks.shared(state.net, plan.parts)
    pending = _Pending(state, plan, keeper, ranks)
    started = time.perf_counter() - state.seconds
    for batch in batches(state.step):
        seed_step(plan.seed, state.step)
        rate = set_rate(state.optimizer, plan, state.step)
        loss = _loss(net.train(), batch, plan, contract, ranks.device)
        state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(state.net.parameters(), plan.clip)
        state.optimizer.step()
        state.follow(plan.averaging)
        state.step += 1
        pending.add(loss.detach(), rate)
        state.seconds = time.perf_counter() - started
        looks = state.step == plan.steps or state.step % plan.evaluate_every == 0
        if looks:
            pending.settle()
            state.looked(validation(state.average), rate)
            state.stopped = bool(validation.patches and plan.patience and state.idle_looks >= plan.patience)
        if looks or (plan.checkpoint_every and state.step % plan.checkpoint_every == 0):
            pending.settle()
            _check_numbers(state.finite, state)
            keeper.checkpoint(state)
        if looks:
            keeper.looked(state)
            pending.tell()
        if state.stopped or state.step == plan.steps:
            break


def _loss(net: nn.Module, batch: Batch, plan: TrainPlan, contract: Contract, device: torch.device) -> Tensor:
    with torch.autocast(device.type, torch.bfloat16, enabled=plan.precision == "bfloat16"):
        answer = ask(net, batch)
    return in_mask_loss(answer.float(), truth_of(batch, contract), batch.weight, plan.beta, plan.spread)


def seed_step(seed: int, step: int) -> None:
    """Set torch's random numbers (dropout) to those of one step, in every process."""
    digest = hashlib.sha256(f"{seed} {step}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:7], "little"))


class _Pending:
    """Losses of the last steps, until they are asked for together."""

    def __init__(self, state: TrainState, plan: TrainPlan, keeper: Keeper, ranks: Ranks) -> None:
        self._state, self._plan, self._keeper, self._ranks = state, plan, keeper, ranks
        self._losses: list[Tensor] = []
        self._rate = 0.0
        self._every = _BETWEEN if ranks.device.type == "cuda" else 1

    def add(self, loss: Tensor, rate: float) -> None:
        self._losses.append(loss)
        self._rate = rate
        if len(self._losses) >= self._every:
            self.settle()

    def settle(self) -> None:
        """Take the losses into the state, and tell of them."""
        if not self._losses:
            return
        state = self._state
        losses = self._ranks.mean(torch.stack(self._losses)).tolist()
        self._losses = []
        state.losses += losses
        _check_numbers(all(map(math.isfinite, losses)), state)
        self.tell()

    def tell(self) -> None:
        """Tell where the training stands."""
        state = self._state
        mae = state.looks[-1].get("mae") if state.looks else None
        self._keeper.told(
            Moment(state.step, self._plan.steps, state.losses[-1], self._rate, mae, state.best.get("mae"))
        )


def _check_numbers(right: bool, state: TrainState) -> None:
    if not right:
        raise ModelError(
            "the training went astray: its loss or its weights are no numbers any more",
            got=f"a loss of {state.losses[-1]:.3g} at step {state.step}",
            cure="the last checkpoint stays; train into another folder with a lower learning_rate or clip",
        )
