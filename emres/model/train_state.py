"""Where a training stands, and the bytes that bring it back: tensors and JSON, nothing that is executed.

Nothing else is needed to go on exactly: patches, learning rates and random numbers of a step are functions of the step.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from emres.errors import IntegrityError, ModelError

FORMAT_VERSION = 1

_WARM = 10  # steps: the average of few steps is nearer to the last of them


class TrainState:
    """A net in training.

    Parameters
    ----------
    net : torch.nn.Module
        On its device.
    weight_decay : float

    Attributes
    ----------
    average : torch.nn.Module
        The moving average of the net's weights and running statistics, in evaluation mode.
    step : int
        Steps made.
    losses : list of float
        Of every step.
    looks : list of dict
        What each look at the validation patches found, with its ``step`` and ``rate``.
    best : dict
        The look whose weights are the best; empty before the first.
    best_weights : dict
        Of the average, then.
    seconds : float
        Spent, over all runs.
    stopped : bool
        Whether it ended early.
    complete : bool
        Whether all is learnt: what a net is told of whole maps by learns once more when the steps are made.
    """

    def __init__(self, net: nn.Module, weight_decay: float) -> None:
        self.net, self.average = net, copy.deepcopy(net).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(net.parameters(), weight_decay=weight_decay)
        self.step, self.seconds, self.stopped, self.complete = 0, 0.0, False, False
        self.losses: list[float] = []
        self.looks: list[dict[str, float]] = []
        self.best: dict[str, float] = {}
        self.best_weights: dict[str, Tensor] = {}

    def follow(self, keep: float) -> None:
        """Move the average towards the net: ``keep`` is what it keeps of itself, once there were many steps."""
        keep = min(keep, (1 + self.step) / (_WARM + self.step))
        with torch.no_grad():
            for mine, other in zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True):
                if mine.dtype.is_floating_point:
                    mine.lerp_(other, 1 - keep)
                else:
                    mine.copy_(other)

    def looked(self, found: Mapping[str, float], rate: float) -> None:
        """Take in what a look at the validation patches found; without patches the last weights are the best.

        Of nets that tell a spread those of the lowest loss are, which holds the spread, too; of others those of the
        lowest error.
        """
        look = {"step": self.step, "rate": rate, "loss": _mean_since(self.losses, self.looks), **found}
        self.looks.append(look)
        measure = "validation loss" if "within" in found else "mae"
        if not self.best or measure not in look or look[measure] < self.best.get(measure, math.inf):
            self.best = look
            self._keep()

    @property
    def idle_looks(self) -> int:
        """How many looks there were since the best one."""
        return len(self.looks) - 1 - self.looks.index(self.best) if self.best else 0

    @property
    def finite(self) -> bool:
        """Whether all weights are numbers."""
        return all(bool(value.isfinite().all()) for value in self.net.parameters())

    def settle(self) -> nn.Module:
        """Put the best weights into the average, and return it."""
        if self.best_weights:
            self.average.load_state_dict(self.best_weights)
        return self.average

    def completed(self) -> None:
        """Take the average for what is best, and nothing for what is left to learn."""
        self._keep()
        self.complete = True

    def _keep(self) -> None:
        self.best_weights = {key: value.cpu().clone() for key, value in self.average.state_dict().items()}

    def to_bytes(self, about: Mapping[str, Any]) -> bytes:
        """Return the state as a safetensors file.

        Parameters
        ----------
        about : mapping
            What else is to be kept, JSON values: the plan, the data set.
        """
        moments = {
            f"{number}.{name}": value
            for number, held in self.optimizer.state_dict()["state"].items()
            for name, value in held.items()
        }
        parts: dict[str, Mapping[str, Tensor]] = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": moments,
            "best": self.best_weights,
            "history": {"losses": torch.tensor(self.losses, dtype=torch.float64)},
        }
        tensors = {
            f"{part}/{key}": value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for part, values in parts.items()
            for key, value in values.items()
        }
        record = {
            "format_version": FORMAT_VERSION,
            "step": self.step,
            "seconds": self.seconds,
            "stopped": self.stopped,
            "complete": self.complete,
            "looks": self.looks,
            "best": self.best,
            "about": about,
        }
        told = json.dumps(record, ensure_ascii=False)
        # One item: several would be written in any order, and the same state is to be the same bytes.
        return safetensors.torch.save(tensors, {"emres": json.dumps([_digest(tensors, told), told])})

    def restore(self, content: Checkpoint) -> None:
        """Go back to where :meth:`to_bytes` was called.

        Raises
        ------
        ModelError
            If the checkpoint is of another net.
        """
        parts, record = content.parts, content.record
        try:
            self.net.load_state_dict(parts["net"])
            self.average.load_state_dict(parts["average"])
            self._restore_moments(parts.get("optimizer", {}))
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError("the checkpoint is of another net", cure="train into another folder") from error
        self.step, self.seconds = int(record["step"]), float(record["seconds"])
        self.stopped, self.looks, self.best = bool(record["stopped"]), list(record["looks"]), dict(record["best"])
        self.complete = bool(record.get("complete", False))
        self.losses, self.best_weights = parts["history"]["losses"].tolist(), parts.get("best", {})

    def _restore_moments(self, moments: Mapping[str, Tensor]) -> None:
        held: dict[int, dict[str, Tensor]] = {}
        for key, value in moments.items():
            number, name = key.split(".")
            # As the net's own weights lie: so do those that the optimizer makes.
            layout = torch.channels_last_3d if value.ndim == 5 else torch.preserve_format
            held.setdefault(int(number), {})[name] = value.clone(memory_format=layout)
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": held})


class Checkpoint:
    """What is in a checkpoint, checked.

    Parameters
    ----------
    content : bytes
        From :meth:`TrainState.to_bytes`.
    source : str
        Name of the file, for errors.

    Raises
    ------
    IntegrityError
        If it is damaged.
    ModelError
        If a newer emres wrote it.
    """

    def __init__(self, content: bytes, source: str = "the checkpoint") -> None:
        try:
            tensors = safetensors.torch.load(content)
            digest, told = json.loads(_metadata(content)["emres"])
            right, record = digest == _digest(tensors, told), json.loads(told)
            version = int(record["format_version"])
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
            raise _damaged(source) from error
        if version > FORMAT_VERSION:
            raise ModelError(f"{source} was written by a newer emres", got=f"format {version}", cure="update emres")
        if not right:
            raise _damaged(source)
        self.record: dict[str, Any] = record
        self.parts: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            part, _, name = key.partition("/")
            self.parts.setdefault(part, {})[name] = value

    @property
    def about(self) -> dict[str, Any]:
        """What was kept beside the state."""
        return dict(self.record["about"])


def _metadata(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    return dict(json.loads(content[8 : 8 + length])["__metadata__"])


def _digest(tensors: Mapping[str, Tensor], told: str) -> str:
    whole = hashlib.sha256(told.encode())
    for key in sorted(tensors):
        whole.update(key.encode())
        whole.update(tensors[key].contiguous().view(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()


def _damaged(source: str) -> IntegrityError:
    return IntegrityError(
        f"{source} is damaged", cure="remove it to train from the beginning, or bring back a copy of it"
    )


def _mean_since(losses: list[float], looks: list[dict[str, float]]) -> float:
    """Return the mean loss since the last look."""
    new = losses[int(looks[-1]["step"]) if looks else 0 :]
    return math.fsum(new) / max(len(new), 1)
