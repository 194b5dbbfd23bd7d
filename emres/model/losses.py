"""What a net is told about its answer: inside the molecule only, and every patch counts alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emres.model.contract import ANGSTROM, Contract
from emres.model.loader import Batch

LOG_SPREAD = (-5.0, 3.0)  # what the loss of an uncertainty looks at: beyond, one voxel would outweigh a batch


def ask(net: nn.Module, batch: Batch) -> Tensor:
    """Return a net's answer to a batch, (batch, 1 or 2, z, y, x): with what it is to know of the whole maps."""
    inner = net.module if isinstance(net, nn.parallel.DistributedDataParallel) else net
    told = {"condition": batch.condition} if getattr(inner, "conditioned", False) else {}
    if getattr(inner, "patterned", False):
        told["pattern"] = batch.pattern
    answer: Tensor = net(batch.density, **told)
    return answer


def truth_of(batch: Batch, contract: Contract) -> Tensor:
    """Return what the net should have said, (batch, 1, z, y, x); finite also where nothing counts."""
    target = torch.where(batch.weight > 0, batch.target, 1.0)
    if contract.output == ANGSTROM:
        return target
    return torch.log(target / batch.voxel_size.view(-1, 1, 1, 1, 1))


def angstrom_of(answer: Tensor, batch: Batch, contract: Contract) -> Tensor:
    """Return the local resolution that an answer stands for, Å, (batch, 1, z, y, x)."""
    said = answer[:, :1]
    if contract.output == ANGSTROM:
        return said
    return said.exp().clamp(*contract.valid_range) * batch.voxel_size.view(-1, 1, 1, 1, 1)


def in_mask_loss(answer: Tensor, truth: Tensor, weight: Tensor, beta: float = 0.1, spread: float = 0.1) -> Tensor:
    """Return the loss of a batch.

    Smooth L1 of the first channel. Of a net with a second, the negative logarithm of a Gaussian of that logarithmic
    width is added: it is told of the error that was made, and does not change it.

    Parameters
    ----------
    answer : (batch, 1 or 2, z, y, x)
    truth, weight : (batch, 1, z, y, x)
        The weight is 1 where the truth counts, else 0.
    beta : float
        Error from which on the loss is linear.
    spread : float
        What the second channel counts.

    Returns
    -------
    scalar
        Each patch is averaged over its weight first; one of no weight counts as 0.
    """
    error = answer[:, :1] - truth
    each = nn.functional.smooth_l1_loss(answer[:, :1], truth, beta=beta, reduction="none")
    if answer.shape[1] > 1:
        log_spread = answer[:, 1:2].clamp(*LOG_SPREAD)
        each = each + spread * (log_spread + 0.5 * (error.detach() * torch.exp(-log_spread)).square())
    return mean_in_mask(each, weight).mean()


def mean_in_mask(each: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of every patch over its weight, (batch,); 0 for one that has none."""
    dimensions = (1, 2, 3, 4)
    return (each * weight).sum(dimensions) / weight.sum(dimensions).clamp_min(1)
