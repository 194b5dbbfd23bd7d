"""What a training leaves in its folder while it runs: checkpoint, history, pictures."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emres.archive.disk import disk_errors, replaced_file
from emres.errors import UsageError
from emres.model.train_plan import TrainPlan

if TYPE_CHECKING:
    from emres.model.train import Moment
    from emres.model.train_state import Checkpoint, TrainState
    from emres.model.validation import Shown

CHECKPOINT, HISTORY, CURVES, EXAMPLES = "checkpoint.safetensors", "history.json", "curves.png", "examples.png"
BOARD = "tensorboard"

_SECONDS = 30.0  # between two pictures


class NoFiles:
    """What keeps a training in the processes beside the first: nothing."""

    def told(self, moment: Moment) -> None:
        """Tell nobody."""

    def checkpoint(self, state: TrainState) -> None:
        """Write nothing."""

    def looked(self, state: TrainState) -> None:
        """Write nothing."""


@dataclass
class TrainFiles:
    """The folder of a training.

    Parameters
    ----------
    folder : Path
    about : mapping
        What the training is: plan, data set; JSON values.
    tell : callable
        Told of steps made.
    examples : callable, optional
        From a state to what is drawn of it.
    """

    folder: Path
    about: Mapping[str, Any]
    tell: Callable[[Moment], None]
    examples: Callable[[TrainState], Shown | None] | None = None
    _drawn: float = field(default_factory=time.monotonic, repr=False)
    _board: Any = field(default=None, repr=False)

    def told(self, moment: Moment) -> None:
        """Pass on what there is to tell."""
        self.tell(moment)

    def checkpoint(self, state: TrainState) -> None:
        """Keep where a training stands: whole, or what was there before.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        with replaced_file(self.folder / CHECKPOINT) as part, part.open("wb") as file:
            file.write(state.to_bytes(self.about))
            file.flush()
            os.fsync(file.fileno())

    def looked(self, state: TrainState) -> None:
        """Write the history; draw, but not more often than somebody could look.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        self.history(state)
        self._show(state)
        if time.monotonic() >= self._drawn + _SECONDS:
            self.draw(state)
            self._drawn = time.monotonic()

    def history(self, state: TrainState) -> None:
        """Write ``history.json``: what every step and every look brought."""
        record = {
            "format_version": 1,
            "step": state.step,
            "seconds": round(state.seconds, 1),
            "stopped_early": state.stopped,
            "best": state.best,
            "looks": state.looks,
            "loss": state.losses,
            **self.about,
        }
        with replaced_file(self.folder / HISTORY) as part:
            part.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    def _show(self, state: TrainState) -> None:
        """Show the look in TensorBoard, where it is installed."""
        if self._board is None:
            self._board = _open_board(self.folder / BOARD, state.step)
        for name, value in state.looks[-1].items():
            if self._board and name != "step":
                self._board.add_scalar(name, value, state.step)

    def draw(self, state: TrainState) -> None:
        """Draw the curves, and a few patches beside their targets."""
        from emres.view.example_patches import example_picture
        from emres.view.learning_curve import learning_picture

        with disk_errors(self.folder):
            if state.looks:
                learning_picture(state.losses, state.looks, self.folder / CURVES, best=state.best)
            shown = self.examples(state) if self.examples else None
            if shown is not None and (shown.target > 0).any():
                title = f"step {state.step}"
                example_picture(shown.density, shown.target, shown.prediction, self.folder / EXAMPLES, title=title)


def _open_board(folder: Path, step: int) -> Any:
    """Return TensorBoard's writer, which forgets what a killed run told of later steps; False where there is none."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return False
    return SummaryWriter(folder, purge_step=step)  # type: ignore[no-untyped-call,unused-ignore]


def remove_leftovers(folder: Path) -> None:
    """Remove what a kill left half-written; only while nobody else writes there."""
    for name in (CHECKPOINT, HISTORY, CURVES, EXAMPLES):
        for part in folder.glob(f".{name}*.part"):
            part.unlink(missing_ok=True)
    for part in folder.glob("*.partial"):  # of the bundle's three files
        part.unlink(missing_ok=True)


def read_checkpoint(folder: Path, plan: TrainPlan, dataset: Mapping[str, Any]) -> Checkpoint | None:
    """Read the checkpoint of a folder, if it has one, and check that it is of this very training.

    Raises
    ------
    UsageError
        If it is of another plan or another data set.
    IntegrityError, ModelError
        If it is damaged, or of a newer emres.
    """
    from emres.model.train_state import Checkpoint

    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    with disk_errors(path):
        found = Checkpoint(path.read_bytes(), str(path))
    cure = "train into another folder, or begin anew with --restart"
    if changed := plan.differences(found.about["plan"]):
        got = "; ".join(changed[:5])
        raise UsageError(f"the training in {folder} was begun with other settings", got=got, cure=cure)
    if found.about["dataset"]["hash"] != dataset["hash"]:
        raise UsageError(
            f"the data set has changed since the training in {folder} was begun",
            got=f"{dataset['rows']} rows, hash {dataset['hash'][:12]}",
            expected=f"{found.about['dataset']['rows']} rows, hash {found.about['dataset']['hash'][:12]}",
            cure=f"bring it back, {cure}",
        )
    return found
