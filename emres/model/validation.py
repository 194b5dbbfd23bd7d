"""A fixed set of patches that the training never sees: how wrong a net is on them, and whether its uncertainty is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from emres.model.condition import KINDS_OF_NOISE, kinds_of
from emres.model.contract import ONE_SIGMA, Contract
from emres.model.loader import Batch
from emres.model.losses import angstrom_of, ask, in_mask_loss, truth_of
from emres.model.ranks import Ranks

_BINS = 4096  # of log(error / spread)
_WIDEST = 12.0  # natural logarithm
_SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)  # of what a net adds to its readers; the first of equals
_KINDS = tuple(itertools.product(range(KINDS_OF_NOISE), range(2)))  # of maps: :func:`emres.model.condition.kinds_of`


class Shown(NamedTuple):
    """Patches with the answer to them, (patch, z, y, x) numpy arrays; all but the density in Å, 0 where nothing counts.

    The prediction is not cut to where there is a target.
    """

    density: np.ndarray
    target: np.ndarray
    prediction: np.ndarray


class Validation:
    """Patches to look at every now and then.

    Parameters
    ----------
    batches : sequence of Batch
        This process' share of them.
    rows : int
        How many maps they are of.
    contract : Contract
    ranks : Ranks

    Attributes
    ----------
    patches : int
        Of all processes together.
    """

    def __init__(self, batches: Sequence[Batch], rows: int, contract: Contract, ranks: Ranks) -> None:
        self._batches, self._rows, self._contract, self._ranks = batches, rows, contract, ranks

        held = torch.tensor(float(sum(len(batch.row) for batch in batches)), device=ranks.device)
        self.patches = int(ranks.total(held))

    def __call__(self, net: nn.Module) -> dict[str, float]:
        """Measure a net, in evaluation mode.

        Returns
        -------
        dict
            ``mae``: mean absolute error inside the molecule, Å, of every map first and then over maps; ``validation
            loss``; ``within``, of a net that tells a spread: the share of voxels whose error is at most one of it.
            Empty without patches.
        """
        if not self.patches:
            return {}
        device = self._ranks.device
        sums = torch.zeros(3, self._rows, dtype=torch.float64, device=device)
        loss = torch.zeros(2, dtype=torch.float64, device=device)
        spread = False
        with torch.inference_mode():
            for batch in self._batches:
                batch = on_device(batch, device)
                answer = ask(net, batch).float()
                spread = answer.shape[1] > 1
                sums.index_add_(1, batch.row, self._measured(answer, batch))
                truth = truth_of(batch, self._contract)
                patches = len(batch.row)
                loss[0] += patches * in_mask_loss(answer, truth, batch.weight)
                loss[1] += patches
        absolute, counted, within = self._ranks.total(sums)
        loss = self._ranks.total(loss)
        held = counted > 0
        found = {
            "mae": float((absolute[held] / counted[held]).mean()),
            "validation loss": float(loss[0] / loss[1].clamp_min(1)),
        }
        return {**found, "within": float((within[held] / counted[held]).mean())} if spread else found

    def _measured(self, answer: Tensor, batch: Batch) -> Tensor:
        """Return sums of every patch, (3, batch): absolute error, voxels, voxels within one spread."""
        weight = batch.weight.double()
        error = (angstrom_of(answer, batch, self._contract) - batch.target).abs().double()
        off = (answer[:, :1] - truth_of(batch, self._contract)).abs()
        inside = off <= answer[:, 1:2].exp() if answer.shape[1] > 1 else torch.zeros_like(off)
        parts = (error * weight, weight, inside * weight)
        return torch.stack([part.sum((1, 2, 3, 4)) for part in parts])

    def spread_factor(self, net: nn.Module, kind: tuple[int, int] | None = None) -> float | None:
        """Return by what a net's spread is to be multiplied so that 68 % of the voxels lie within one of it.

        Every map counts alike. None where there are no patches, or no spread.

        Parameters
        ----------
        net : torch.nn.Module
            In evaluation mode.
        kind : two int, optional
            Only of such maps: :func:`emres.model.condition.kinds_of`.
        """
        return self._factor(self._ratios(net), kind)

    def temper(self, net: nn.Module) -> float:
        """Have a net that starts from what was read of whole maps add as much to it as is best here; return the share.

        A net learns what its readers miss while each of them is kept from a part of the maps. Later they know them all,
        and are less in need of it.
        """
        head: nn.Conv3d = net.head  # type: ignore[assignment]
        learnt = [values[:1].clone() for values in (head.weight, head.bias) if values is not None]
        errors = {}
        for share in _SHARES if self.patches else (1.0,):
            _scale(head, learnt, share)
            errors[share] = self(net).get("mae", 0.0)
        best = min(errors, key=errors.__getitem__)
        _scale(head, learnt, best)
        return best

    def calibrate(self, net: nn.Module) -> float:
        """Have a net that is told of whole maps multiply its spread as each kind of map needs it; return what is left.

        A net learns how far it is off from maps that its readers learnt from; these here they have never seen.
        """
        film = getattr(net, "film", None)
        if film is not None:
            ratios = self._ratios(net)
            usual = self._factor(ratios) or 1.0
            for kind in _KINDS:
                film.surety[kind] += np.log(self._factor(ratios, kind) or usual)
        return self.spread_factor(net) or 1.0

    def _ratios(self, net: nn.Module) -> list[tuple[Tensor, Batch]]:
        """Return how often, in every patch, which error over spread occurs, (batch, bins), batch by batch."""
        found = []
        with torch.inference_mode():
            for batch in self._batches:
                batch = on_device(batch, self._ranks.device)
                answer = ask(net, batch).float()
                if answer.shape[1] < 2:
                    break
                off = (answer[:, :1] - truth_of(batch, self._contract)).abs().clamp_min(1e-6)
                place = ((off.log() - answer[:, 1:2] + _WIDEST) / (2 * _WIDEST) * _BINS).long().clamp(0, _BINS - 1)
                counts = torch.zeros(len(place), _BINS, dtype=torch.float64, device=place.device)
                counts.scatter_add_(1, place.flatten(1), batch.weight.double().flatten(1))
                found.append((counts, batch))
        return found

    def _factor(self, ratios: list[tuple[Tensor, Batch]], kind: tuple[int, int] | None = None) -> float | None:
        counts = torch.zeros(self._rows, _BINS, dtype=torch.float64, device=self._ranks.device)
        for of_patches, batch in ratios:
            counts.index_add_(0, batch.row, of_patches * _is_of(kind, batch.condition)[:, None])
        counts = self._ranks.total(counts)
        share = (counts / counts.sum(1, keepdim=True).clamp_min(1)).sum(0).cumsum(0)
        if not share[-1] > 0:
            return None
        found = int(torch.searchsorted(share, ONE_SIGMA * share[-1]))
        return float(np.exp((found + 0.5) / _BINS * 2 * _WIDEST - _WIDEST))

    def shown(self, net: nn.Module, count: int = 4) -> Shown | None:
        """Return a few patches, of different maps as far as there are, and a net's answer to them."""
        return show(net, self._batches, self._contract, self._ranks.device, count) if self._batches else None


def _scale(layer: nn.Conv3d, learnt: list[Tensor], share: float) -> None:
    """Put a share of what was learnt of the first channel into a layer."""
    with torch.no_grad():
        for values, before in zip((layer.weight, layer.bias), learnt, strict=False):
            values[:1] = share * before  # type: ignore[index]


def _is_of(kind: tuple[int, int] | None, condition: Tensor) -> Tensor:
    """Return 1 for the patches whose maps are of a kind, (batch,), else 0."""
    if kind is None:
        return torch.ones(len(condition), dtype=torch.float64, device=condition.device)
    noise, told = kinds_of(condition)
    return ((noise == kind[0]) & (told == kind[1])).double()


def show(net: nn.Module, batches: Sequence[Batch], contract: Contract, device: torch.device, count: int) -> Shown:
    """Return a few patches of some batches, of different maps as far as there are, and a net's answer to them."""
    batch = Batch(*(torch.cat(parts) for parts in zip(*batches, strict=True)))
    full = batch.weight.sum((1, 2, 3, 4))
    # Of every map the patch with most of it; then the next of each.
    order = torch.argsort(full, descending=True, stable=True).tolist()
    seen: dict[int, int] = {}
    turn: dict[int, int] = {}
    for number in order:
        row = int(batch.row[number])
        turn[number] = seen[row] = seen.get(row, 0) + 1
    chosen = sorted(order, key=lambda number: (turn[number], int(batch.row[number])))[:count]
    few = on_device(Batch(*(values[chosen] for values in batch)), device)
    with torch.inference_mode():
        said = angstrom_of(ask(net, few).float(), few, contract)
    cubes = (few.density, few.target * few.weight, said)
    return Shown(*(values[:, 0].float().cpu().numpy() for values in cubes))


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Return a batch where a net computes."""
    return Batch(*(values.to(device, non_blocking=True) for values in batch))
