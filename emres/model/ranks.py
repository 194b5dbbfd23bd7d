"""Several processes that train one net: what each has to know of the others.

A batch is split into equal parts; the mean of the parts' gradients is the gradient of the batch. Batch normalisation
needs the statistics of the batch as well, not of the part, and PyTorch's own way to share them is for GPUs only: ours
is a differentiable sum over the processes, and works on any device.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """Which process this is, of how many.

    Parameters
    ----------
    rank, size : int
    device : torch.device
        That it computes on.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over all processes."""
        return self.total(values) / self.size

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over all processes."""
        values = values.clone()
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def agreed(self) -> None:
        """Wait until every process has come here."""
        if self.size > 1:
            dist.barrier()

    def shared(self, net: nn.Module, parts: int) -> nn.Module:
        """Return a net to train: its gradients, and the statistics of its batches, are those of all processes.

        Parameters
        ----------
        net : torch.nn.Module
            Its batch normalisations and dropouts are replaced by ones that share.
        parts : int
            Of a batch; this process has every ``size``-th.
        """
        if self.size == 1:
            return net
        share_layers(net, parts // self.size, self)
        devices = [self.device] if self.device.type == "cuda" else None
        # A 1^3 kernel has more than one name for the layout of its numbers; PyTorch takes that for two layouts.
        warnings.filterwarnings("ignore", message="Grad strides do not match", category=UserWarning)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the argument's name is to change
            # Running statistics follow from the same numbers in every process: there is nothing to broadcast.
            return nn.parallel.DistributedDataParallel(net, device_ids=devices, broadcast_buffers=False)


class SharedBatchNorm3d(nn.BatchNorm3d):
    """Batch normalisation by the statistics of all processes; in evaluation, and alone, the usual one.

    Every process has an equal part of the batch.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (batch, channels, z, y, x)."""
        if not (self.training and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            return self._shared(input.to(self.weight.dtype)).to(input.dtype)

    def _shared(self, features: Tensor) -> Tensor:
        dimensions, shape = (0, 2, 3, 4), (1, -1, 1, 1, 1)
        size = dist.get_world_size()
        # Of the deviations from the mean, not as a difference of two large numbers.
        mean = _sum_over_processes(features.mean(dimensions)) / size
        centred = features - mean.view(shape)
        variance = _sum_over_processes(centred.square().mean(dimensions)) / size
        self._follow(mean.detach(), variance.detach(), size * features.numel() // features.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return centred * scale.view(shape) + self.bias.view(shape)

    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), share)


class SharedDropout(nn.Module):
    """Dropout of the whole batch, of which every process draws all and uses its part.

    Parameters
    ----------
    usual : torch.nn.Module
        What one process would do to the batch.
    parts : int
        Of this process.
    ranks : Ranks
    """

    def __init__(self, usual: nn.Module, parts: int, ranks: Ranks) -> None:
        super().__init__()
        self._usual, self._parts, self._ranks = usual, parts, ranks

    def forward(self, features: Tensor) -> Tensor:
        """Drop of (batch, channels, ...)."""
        if not self.training:
            return features
        size, count = self._ranks.size, len(features)
        by_channel = isinstance(self._usual, nn.Dropout3d)
        one = (features.shape[1], 1, 1, 1) if by_channel else features.shape[1:]
        kept = self._usual.train()(torch.ones((count * size, *one), dtype=features.dtype, device=features.device))
        mine = kept.view(self._parts, size, count // self._parts, *one)[:, self._ranks.rank]
        dropped: Tensor = features * mine.reshape(count, *one)
        return dropped


def share_layers(net: nn.Module, parts: int, ranks: Ranks) -> None:
    """Replace what looks at a batch as a whole by what shares; weights and statistics stay the same tensors."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm3d:
                shared = SharedBatchNorm3d(child.num_features, child.eps, child.momentum)
                shared.__dict__ = child.__dict__
                setattr(module, name, shared)
            elif type(child) in (nn.Dropout, nn.Dropout3d):
                setattr(module, name, SharedDropout(child, parts, ranks))


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def _sum_over_processes(values: Tensor) -> Tensor:
    total: Tensor = _SumOverProcesses.apply(values)  # type: ignore[no-untyped-call]
    return total
