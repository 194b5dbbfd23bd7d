"""``emres train``: a data set becomes a model."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emres.cli.cluster import cluster_of
from emres.cli.console import Console, warn
from emres.cli.options import CONTEXT, PATH, on_cluster, with_console
from emres.errors import UsageError

if TYPE_CHECKING:
    from emres.model.train import Moment

_OPTIONAL = (
    "dataset", "to", "architecture", "steps", "batch", "seed", "device", "processes", "threads", "workers",
    "map_readers",
)  # fmt: skip


@click.command(context_settings=CONTEXT)
@click.argument("config", type=PATH, required=False, metavar="[CONFIG.toml]")
@click.option("--dataset", type=PATH, metavar="DATASET", help="What emres dataset build made.")
@click.option("--to", type=PATH, metavar="FOLDER", help="The folder of the model.")
@click.option("--architecture", metavar="NAME", help="conditioned_unet (the default), compact_unet, legacy_dropout, …")
@click.option("--steps", type=click.IntRange(min=1), help="Batches that are learnt from.  [default: 2000]")
@click.option("--batch", type=click.IntRange(min=1), help="Patches a batch.  [default: 16]")
@click.option("--seed", type=click.IntRange(min=0), help="Of everything that is drawn.  [default: 0]")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Any setting of CONFIG; may be repeated.")
@click.option("--device", metavar="auto|cpu|cuda", help="Where to compute.  [default: auto]")
@click.option("--processes", type=click.IntRange(min=1), help="That share every batch.  [default: 1]")
@click.option("--threads", type=click.IntRange(min=0), help="That cut patches, in each process.  [default: 1]")
@click.option("--workers", type=click.IntRange(min=0), help="Processes that cut patches, in place of threads.")
@click.option(
    "--map-readers",
    type=click.IntRange(min=1),
    help="That read maps which were never read, before.  [default: one a core]",
)
@click.option("--restart", is_flag=True, help="Begin anew; what is in FOLDER is replaced.")
@on_cluster
@with_console
def train(
    console: Console, config: Path | None, settings: tuple[str, ...], cluster: str | None, restart: bool, **options: Any
) -> int:
    """Train a net on a data set; the model in FOLDER predicts by --model FOLDER.

    The same command goes on where it was interrupted, and ends with the same weights. FOLDER shows meanwhile how it
    goes: curves.png, examples.png, history.json. Weights are chosen by the error on patches of the validation side.

    \b
    CONFIG holds any of these, and paths relative to itself:
      dataset = "set"
      to = "mine"
      steps = 5000
      learning_rate = 2e-3
      [arguments]
      channels = 24
      [augmentation]
      mask = 0.5

    \b
    Examples:
      emres train --dataset set --to mine
      emres train mine.toml --processes 2
      emres train --dataset set --to old --architecture legacy_batchnorm --set arguments.filters=32
      torchrun --nproc-per-node 4 -m emres train mine.toml
    """
    from emres.run.cluster import cores
    from emres.run.train_config import read_training
    from emres.run.train_processes import train_model

    given = {name: options[name] for name in _OPTIONAL if options[name] is not None}
    training = read_training(config, {**given, **_settings(settings), "restart": restart})
    training = replace(training, map_readers=training.map_readers or cores())
    with cluster_of(console, cluster, training.processes) as client, _progress(console) as tell:
        found = train_model(training, tell, client)
    if found is None:  # one of several processes: the first speaks
        return 0
    if console.as_json:
        console.data(found)
        return 0
    if not console.quiet:
        warn(found["warnings"], found["model"])
    error = "" if found["mae"] is None else f", error {found['mae']:.3f} Å on validation patches"
    early = " (no better for a while)" if found["stopped_early"] else ""
    console.say(f"{found['folder']}: {found['model']}, {found['steps']} steps{early}{error}")
    return 0


def _settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """Read ``name=value`` as lines of TOML, where a text needs no quotes."""
    values: dict[str, Any] = {}
    for line in settings:
        name, equals, value = line.partition("=")
        if not equals:
            raise UsageError("--set takes NAME=VALUE", got=line)
        try:
            found = tomllib.loads(f"{name} = {value}")
        except tomllib.TOMLDecodeError:
            try:
                found = tomllib.loads(f'{name} = "{value}"')
            except tomllib.TOMLDecodeError as error:
                raise UsageError("--set takes NAME=VALUE", got=line) from error
        for key, one in found.items():
            values[key] = {**values.get(key, {}), **one} if isinstance(one, dict) else one
    return values


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[Moment], None]]:
    """Show a bar with loss, rate and error; where there is no terminal, a line for every tenth of the steps."""
    if not console.speaks:
        yield lambda moment: None
        return
    if not console.rich.is_terminal:
        yield _Lines(console)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}  rate {task.fields[rate]}  error {task.fields[error]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console.rich, transient=True) as bars:
        task = bars.add_task("[bold]steps", total=None, loss="", rate="", error="")

        def show(moment: Moment) -> None:
            words: dict[str, Any] = _words(moment)
            if moment.what not in bars.tasks[task].description:
                bars.reset(task)
            bars.update(task, description=f"[bold]{moment.what}", total=moment.steps, completed=moment.step, **words)

        yield show


class _Lines:
    """A line for every tenth of the steps, and for every look at the validation side."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: tuple[str, int, float | None] = ("", -1, None)

    def __call__(self, moment: Moment) -> None:
        now = (moment.what, 10 * moment.step // moment.steps, moment.mae)
        if now != self._told:
            self._told = now
            told = ", ".join(f"{name} {value}" for name, value in _words(moment).items() if value)
            where = "step" if moment.what == "steps" else f"{moment.what}:"
            self._console.say(f"{where} {moment.step} of {moment.steps}" + (f": {told}" if told else ""))


def _words(moment: Moment) -> dict[str, str]:
    error = "" if moment.mae is None else f"{moment.mae:.3f} Å (best {moment.best:.3f})"
    if not moment.rate:
        return {"loss": "", "rate": "", "error": error}
    return {"loss": f"{moment.loss:.4f}", "rate": f"{moment.rate:.2e}", "error": error}


COMMANDS = (train,)
