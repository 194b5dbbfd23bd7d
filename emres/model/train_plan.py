"""How a net is trained: every number that the weights depend on, readable without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from emres.errors import UsageError
from emres.model.augment import USUAL, Augmentation

SCHEDULES = ("one-cycle", "cosine")
PRECISIONS = ("auto", "float32", "bfloat16")

_FREE = ("name", "version", "checkpoint_every")  # what may change between a kill and the same command again


@dataclass(frozen=True)
class Kind:
    """What an architecture wants unless it is told otherwise.

    Parameters
    ----------
    architecture : str
        A key of ``emres.model.bundle.ARCHITECTURES``.
    arguments : dict
        Of its constructor.
    side, margin : int
        Voxels of a patch, and of its faces that do not count.
    learning_rate : float
    augmentation : Augmentation
    cube : int
        Above 0: it sees cubes of that side, on the map's own voxels scaled to 0..1, and answers in Å.
    """

    architecture: str
    arguments: dict[str, int] = field(default_factory=dict)
    side: int = 32
    margin: int = 4
    learning_rate: float = 2e-3
    augmentation: Augmentation = USUAL
    cube: int = 0


# Sharpening and masks would move the extremes of a map that its cubes are scaled by: those nets see it turned, no more.
_TURNED = Augmentation(rotations=True)

KINDS = {
    "legacy_dropout": Kind("legacy_unet", {"batchnorm": 0, "filters": 64}, 16, 0, 3e-4, _TURNED, 16),
    "legacy_batchnorm": Kind("legacy_unet", {"batchnorm": 1, "filters": 64}, 16, 0, 1e-3, _TURNED, 16),
}


@dataclass(frozen=True)
class TrainPlan:
    """What to train, on which patches, how long and how fast.

    Parameters
    ----------
    architecture : str
        ``conditioned_unet``, ``compact_unet``, ``legacy_dropout``, ``legacy_batchnorm`` or another that ``build_net``
        knows.
    arguments : dict
        Integers of its constructor.
    name, version : str
        Under which predictions are kept; the name is that of the folder unless given.
    steps, batch : int
        A step sees one batch of patches, over all processes together.
    level_steps : int, optional
        Of a net that is told of whole maps, before: in which it learns how fine a map is as a whole, and round each
        place. 1500 and 2500 unless given, and no more than twice as many as ``steps``.
    handled : int
        Of a net that is told of whole maps: how often every average of half maps is sharpened, filtered, masked, cut
        or resampled beyond what its depositors did; readers of whole maps learn from these, too.
    stripped : int
        How often, of such a net, it is also stripped of all below its background or a contour; maps that look so have
        readers of their own.
    parts : int
        A batch comes in so many parts, which processes share: their number divides it.
    seed : int
    epoch_steps : int
        After so many steps patches are drawn anew; in between none comes twice.
    side, margin : int, optional
        Voxels of a patch, and of its faces that do not count; as the architecture wants them.
    voxel_size : float, optional
        Å of the finest grid that maps are resampled to; None for nets of the map's own voxels.
    octaves, octave_steps : int
        How many times it may be doubled for coarser maps, and how many grids there are an octave.
    valid_range : (float, float)
        Finest and coarsest answer, voxels of the working grid.
    augmentation : Augmentation, optional
    learning_rate : float, optional
        Of AdamW, at its highest.
    schedule : str
        ``one-cycle`` or ``cosine`` (both from a warm-up on).
    warm_up : float
        Share of the steps.
    weight_decay, clip : float
        Of AdamW; the largest norm of a gradient.
    averaging : float
        Share of the averaged weights that a step keeps, once there are many.
    beta : float
        Error from which on the loss is linear.
    spread : float
        What the uncertainty's loss counts beside that of the resolution.
    precision : str
        ``auto`` is bfloat16 where there is a GPU, float32 on a CPU.
    evaluate_every : int
        Steps between two looks at the validation patches.
    validation_patches : int
    patience : int
        End after so many looks without a lower error; 0 never.
    checkpoint_every : int
        Steps.
    """

    architecture: str = "conditioned_unet"
    arguments: dict[str, int] = field(default_factory=dict)
    name: str = ""
    version: str = "1"
    steps: int = 2000
    batch: int = 16
    level_steps: int | None = None
    handled: int = 6
    stripped: int = 4
    parts: int = 4
    seed: int = 0
    epoch_steps: int = 500
    side: int | None = None
    margin: int | None = None
    voxel_size: float | None = 1.0
    octaves: int = 3
    octave_steps: int = 2
    valid_range: tuple[float, float] = (2.0, 20.0)
    augmentation: Augmentation | None = None
    learning_rate: float | None = None
    schedule: str = "one-cycle"
    warm_up: float = 0.1
    weight_decay: float = 1e-4
    clip: float = 1.0
    averaging: float = 0.999
    beta: float = 0.1
    spread: float = 0.1
    precision: str = "auto"
    evaluate_every: int = 100
    validation_patches: int = 512
    patience: int = 10
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "parts", "octave_steps", "epoch_steps", "evaluate_every", "validation_patches"):
            _check(getattr(self, name) >= 1, self, name, "1 or more")
        counts = ("seed", "handled", "stripped", "octaves", "patience", "checkpoint_every")
        for name in (*counts, "weight_decay", "spread"):
            _check(getattr(self, name) >= 0, self, name, "0 or more")
        for name in ("side", "level_steps"):
            _check(getattr(self, name) is None or getattr(self, name) >= 1, self, name, "1 or more")
        for name in ("clip", "beta", "learning_rate"):
            _check(getattr(self, name) is None or 0 < getattr(self, name) < math.inf, self, name, "above 0")
        _check(0 <= self.averaging < 1, self, "averaging", "from 0 to below 1")
        _check(0 <= self.warm_up < 1, self, "warm_up", "a share of the steps, from 0 to below 1")
        _check(self.batch % self.parts == 0, self, "batch", f"a multiple of parts, {self.parts}")
        _check(self.schedule in SCHEDULES, self, "schedule", " or ".join(SCHEDULES))
        _check(self.precision in PRECISIONS, self, "precision", ", ".join(PRECISIONS))

    @property
    def kind(self) -> Kind:
        """What the architecture wants."""
        return KINDS.get(self.architecture, Kind(self.architecture))

    def check_shares(self, processes: int) -> None:
        """Check that a batch can be shared evenly.

        Raises
        ------
        UsageError
        """
        if self.parts % processes:
            raise UsageError(
                "a batch cannot be shared evenly",
                got=f"{self.parts} parts, {processes} processes",
                cure="set parts to a multiple of the processes that divides the batch",
            )

    def settled(self) -> TrainPlan:
        """Return the plan with nothing left open: what the architecture wants stands where nothing was said.

        Examples
        --------
        >>> plan = TrainPlan(architecture="legacy_dropout").settled()
        >>> plan.side, plan.voxel_size, plan.arguments
        (16, None, {'batchnorm': 0, 'filters': 64})
        """
        kind = self.kind
        chosen = {
            name: getattr(kind, name)
            for name in ("side", "margin", "learning_rate", "augmentation")
            if getattr(self, name) is None
        }
        return replace(
            self,
            **chosen,
            arguments={**kind.arguments, **self.arguments},
            voxel_size=None if kind.cube else self.voxel_size,
        )

    def record(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {**asdict(self), "valid_range": list(self.valid_range), "augmentation": _record(self.augmentation)}

    def differences(self, recorded: Mapping[str, Any]) -> list[str]:
        """Return what a recorded plan has otherwise, in words; nothing of it where training may go on."""
        mine = self.record()
        return [
            f"{name} {recorded.get(name)}, not {value}"
            for name, value in mine.items()
            if name not in _FREE and recorded.get(name) != value
        ]


def _check(right: bool, plan: TrainPlan, name: str, expected: str) -> None:
    if not right:
        raise UsageError(f"a net cannot be trained with this {name}", got=str(getattr(plan, name)), expected=expected)


def _record(augmentation: Augmentation | None) -> dict[str, Any] | None:
    if augmentation is None:
        return None
    return {item.name: _plain(getattr(augmentation, item.name)) for item in fields(augmentation)}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
