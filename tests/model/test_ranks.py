"""Processes that share a batch normalise and learn as one that has it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing, nn

from emres.model.ranks import Ranks, SharedBatchNorm3d


def small_net() -> nn.Module:
    torch.manual_seed(3)
    drops = nn.Dropout3d(0.3), nn.Dropout(0.2)
    layers = (nn.Conv3d(1, 4, 3, bias=False), nn.BatchNorm3d(4), nn.ReLU(), *drops, nn.Conv3d(4, 1, 1))
    return nn.Sequential(*layers).double()


def two_steps(net: nn.Module, ranks: Ranks) -> dict[str, Tensor]:
    """Train twice on this process' part of a batch of 4; the parts differ in mean and spread."""
    torch.manual_seed(4)
    batch = torch.randn(4, 1, 6, 6, 6).double() * torch.arange(1, 5).view(-1, 1, 1, 1, 1) + 5
    part = batch[ranks.rank :: ranks.size]  # four parts of one patch
    shared = ranks.shared(net, 4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        torch.manual_seed(5)
        (shared(part) - part.mean((1, 2, 3, 4), keepdim=True)).square().mean((1, 2, 3, 4)).mean().backward()
        optimizer.step()
    total = ranks.total(torch.tensor([1.0 + ranks.rank]))
    return {**net.state_dict(), "total": total, "mean": ranks.mean(total)}


def take_part(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save(two_steps(small_net(), Ranks(rank, 2)), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_learn_as_one(tmp_path: Path) -> None:
    # Forked: a fresh process would import torch for longer than the test takes.
    context: Any = multiprocessing.start_processes(take_part, (str(tmp_path),), 2, join=False, start_method="fork")
    net = small_net()
    alone = two_steps(net, Ranks())
    while not context.join():
        pass
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert (float(first.pop("total")), float(second.pop("mean"))) == (3.0, 3.0)
    assert (float(alone.pop("total")), float(alone.pop("mean"))) == (1.0, 1.0)
    for key, value in alone.items():
        torch.testing.assert_close(first[key], value, rtol=1e-9, atol=1e-12)
        assert torch.equal(first[key], second[key])
    assert alone["1.running_var"].min() > 1.2  # there was something to share


def test_alone_a_shared_normalisation_is_the_usual_one() -> None:
    torch.manual_seed(0)
    shared, usual = SharedBatchNorm3d(3), nn.BatchNorm3d(3)
    values = torch.randn(2, 3, 4, 4, 4)
    for _ in range(2):
        assert torch.equal(shared(values), usual(values))
    assert torch.equal(shared.eval()(values), usual.eval()(values))
    assert Ranks().shared(usual, 4) is usual
