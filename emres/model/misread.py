"""How sure to be of maps that no patch is cut from: learnt from how far off their readers were, place by place.

Patches are of averages and of deposits. A map that was blurred, masked or cut through since is read less well, and what
is told of it as a whole shows that. So beside every batch of patches the spread of some such maps is held against the
errors of readers that did not learn from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emres.model.losses import spread_loss

_MAPS = 32  # in a step


@dataclass(frozen=True)
class Misread:
    """How far off readers were on places of some maps.

    Parameters
    ----------
    told : (m, LENGTH + 1) float32
        What a net is told of each: see :func:`emres.model.told.with_level`.
    errors : (m, n) float32
        Of log(local resolution); NaN where it is not known.
    """

    told: Tensor
    errors: Tensor

    def loss(self, net: nn.Module, seed: int, step: int) -> Tensor:
        """Return what the spread that a net, in training, states of some maps costs: the same maps in every process.

        Parameters
        ----------
        net : torch.nn.Module
            A :class:`emres.model.conditioned.ConditionedUNet`.
        seed, step : int
        """
        film: Any = net.film
        chosen = torch.from_numpy(np.random.default_rng([seed, 3, step]).integers(len(self.told), size=_MAPS))
        said, _, _ = film(self.told[chosen].to(film.surety.device))
        errors = self.errors[chosen].to(said.device)
        known = errors.isfinite()
        each = spread_loss(said[:, 1].flatten(1), errors.nan_to_num())
        return (torch.where(known, each, 0.0).sum(1) / known.sum(1).clamp_min(1)).mean()
