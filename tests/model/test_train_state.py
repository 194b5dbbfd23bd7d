"""What a checkpoint brings back is what was kept, to the last bit; what is damaged is refused; nothing is executed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from emres.errors import EmresError, IntegrityError, ModelError
from emres.model import train_state
from emres.model.bundle import build_net
from emres.model.train_state import Checkpoint, TrainState

SMALL = {"channels": 4, "deep_channels": 4, "deep_layers": 1}


def fresh(seed: int = 1) -> TrainState:
    torch.manual_seed(seed)
    net = build_net("compact_unet", SMALL).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return TrainState(net, 1e-4)


def learn(state: TrainState, steps: int = 3) -> TrainState:
    for _ in range(steps):
        torch.manual_seed(state.step)
        loss = (state.net.train()(torch.randn(2, 1, 8, 8, 8)) - 1).square().mean()
        state.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(state.net.parameters(), 1.0)
        state.optimizer.step()
        state.follow(0.9)
        state.step += 1
        state.losses.append(loss.item())
    return state


def weights(state: TrainState) -> dict[str, Tensor]:
    return {**state.net.state_dict(prefix="net."), **state.average.state_dict(prefix="average.")}


def test_what_goes_on_from_a_checkpoint_is_what_was_never_interrupted() -> None:
    calm = learn(fresh())
    calm.looked({"mae": 0.5}, 1e-3)
    content = calm.to_bytes({"plan": {"steps": 9}})
    rough = fresh(seed=2)
    found = Checkpoint(content)
    assert found.about == {"plan": {"steps": 9}}
    rough.restore(found)
    for state in (calm, rough):
        learn(state, 3)
        state.looked({"mae": 0.7}, 1e-3)
    assert calm.losses == rough.losses
    assert (calm.looks, calm.best, calm.step) == (rough.looks, rough.best, rough.step)
    assert calm.to_bytes({}) == rough.to_bytes({})
    for one, two in zip(weights(calm).values(), weights(rough).values(), strict=True):
        assert torch.equal(one, two)


def test_the_best_weights_are_those_of_the_lowest_error() -> None:
    state = learn(fresh())
    state.looked({"mae": 0.5}, 0.0)
    best = {key: value.clone() for key, value in state.average.state_dict().items()}
    for mae in (0.7, 0.6):
        learn(state).looked({"mae": mae}, 0.0)
    assert state.best["step"] == 3
    assert state.idle_looks == 2
    for key, value in state.settle().state_dict().items():
        assert torch.equal(value, best[key])


def test_of_nets_that_tell_a_spread_the_best_weights_are_those_of_the_lowest_loss() -> None:
    state = learn(fresh())
    for error, loss in ((0.5, -0.1), (0.6, -0.3), (0.55, -0.2)):
        learn(state).looked({"mae": error, "validation loss": loss, "within": 0.7}, 0.0)
    assert (state.best["mae"], state.idle_looks) == (0.6, 1)


def test_without_an_error_the_last_weights_are_the_best() -> None:
    state = learn(fresh())
    state.looked({}, 0.0)
    learn(state).looked({}, 0.0)
    assert state.best["step"] == 6
    assert state.idle_looks == 0


def test_what_is_complete_is_kept_and_comes_back_so() -> None:
    state = learn(fresh())
    state.looked({"mae": 0.5}, 0.0)
    for value in state.settle().state_dict().values():
        value.zero_()
    state.completed()
    again = fresh(seed=2)
    again.restore(Checkpoint(state.to_bytes({})))
    assert again.complete
    assert not any(value.any() for value in again.settle().state_dict().values())
    assert not fresh().complete


@pytest.fixture(scope="module")
def content() -> bytes:
    return learn(fresh(), 1).to_bytes({})


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_checkpoint_cut_short_or_with_one_wrong_byte_is_refused(content: bytes, share: float) -> None:
    place = int(share * len(content))
    wrong = bytearray(content)
    wrong[place] ^= 0x11
    for damaged in (content[:place], bytes(wrong)):
        with pytest.raises(IntegrityError, match=r"mine is damaged; remove it"):
            Checkpoint(damaged, "mine")


def test_a_newer_format_and_another_net_are_told(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    other = TrainState(build_net("compact_unet", {**SMALL, "channels": 8}), 0.0)
    with pytest.raises(ModelError, match="another net"):
        other.restore(Checkpoint(content))
    monkeypatch.setattr(train_state, "FORMAT_VERSION", 99)
    newer = fresh().to_bytes({})
    monkeypatch.undo()
    with pytest.raises(EmresError, match="newer emres"):
        Checkpoint(newer)


def test_reading_a_checkpoint_unpickles_nothing(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was unpickled")

    monkeypatch.setattr("pickle.loads", refuse)
    monkeypatch.setattr("torch.load", refuse)
    fresh().restore(Checkpoint(content))


def test_the_average_follows_quickly_at_first() -> None:
    state = fresh()
    state.follow(0.999)
    start = {key: value.clone() for key, value in state.average.state_dict().items()}
    with torch.no_grad():
        for parameter in state.net.parameters():
            parameter += 1
    for state.step in range(30):
        state.follow(0.999)
    moved = state.average.state_dict()["head.bias"] - start["head.bias"]
    assert (moved > 0.9).all()
