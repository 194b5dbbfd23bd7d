"""``emres evaluate``: how well a model does on held-out maps and real ones, beside what any model has to beat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emres.cli.console import Console
from emres.cli.options import CONTEXT, PATH, with_console

if TYPE_CHECKING:
    from emres.run.evaluate import Evaluated
    from emres.run.evaluate_plan import EvaluationPlan

SPLITS = ("train", "validation", "test")
COLUMNS = ("mae", "rmse", "spearman", "median_error", "within_half", "within_one")

_FEW = 3


@click.command(context_settings=CONTEXT)
@click.argument("model", metavar="MODEL")
@click.option("--dataset", "dataset", type=PATH, metavar="DATASET", help="From emres dataset build.")
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Side to measure on.")
@click.option("--target", metavar="NAME", help="Of the data set, where it has several: fsc-dense, monores, …")
@click.option(
    "--real", type=PATH, metavar="FOLDER", help="Real maps with maps.tsv: file, emdb_id, reported_resolution_A."
)
@click.option(
    "--to", "folder", type=PATH, metavar="FOLDER", help="For the results.  [default: MODEL@VERSION-evaluation]"
)
@click.option("--mask", type=click.Choice(("auto", "target")), default="auto", show_default=True,
              help="Where the model answers: in the mask it finds itself, or wherever there is a target.")  # fmt: skip
@click.option(
    "--estimators", is_flag=True, help="MonoRes and ResMap of the plain average, too (slow; kept in the store)."
)
@click.option("--most", type=click.IntRange(min=1), metavar="N", help="At most N entries, spread over the resolutions.")
@click.option("--few", type=click.IntRange(min=0), default=_FEW, show_default=True, metavar="N",
              help="Entries for the robustness table and the noise floor.")  # fmt: skip
@click.option("--noise-floor", "models", type=PATH, metavar="MODELS",
              help="The atomic models of simulated entries: targets are made again with other noise.")  # fmt: skip
@click.option("--references", type=PATH, metavar="FOLDER",
              help="OBJECT/half_map_1.map.gz, half_map_2.map.gz, mask.map.gz, references/PROGRAM.map.gz.")  # fmt: skip
@click.option("--card", type=PATH, metavar="FILE.md", help="Write the model's card from what was measured.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda", help="Where to compute.")
@with_console
def evaluate(
    console: Console,
    model: str,
    dataset: Path | None,
    folder: Path | None,
    estimators: bool,
    card: Path | None,
    device: str,
    **options: Any,
) -> int:
    """Measure a model on whole maps that it never saw, and on real ones: evaluation.json, evaluation.md, pictures.

    On each map of a data set the model stands beside constants (the map's own median, the global FSC, the training
    side's median, the constant of the voxel size), beside the rank of minus the local rms and, on request, MonoRes and
    ResMap and the outputs of other programs; changed maps tell how robust it is. The same command goes on where it was
    interrupted; maps that fail are reported, and the others go on.

    \b
    Examples:
      emres evaluate emres-small --dataset set
      emres evaluate ./my-model --dataset set --split validation --most 20 --few 0
      emres evaluate emres-small --dataset set --estimators --noise-floor models --real maps --card card.md
    """
    from emres.archive.manifest import read_dataset
    from emres.run.evaluate_model import ModelUnderTest
    from emres.run.evaluate_plan import EvaluationPlan
    from emres.run.jobs import check_choices

    check_choices("none", device)
    under_test = ModelUnderTest.named(model, device)
    name = under_test.contract.name_version
    plan = EvaluationPlan(
        under_test,
        folder or Path(f"{name}-evaluation"),
        read_dataset(dataset) if dataset else None,
        estimators=("monores", "resmap") if estimators else (),
        device=device,
        **options,
    )
    return _evaluate(console, plan, card)


def _evaluate(console: Console, plan: EvaluationPlan, card: Path | None) -> int:
    from emres.run.card import write_card
    from emres.run.evaluate import FILE, evaluate
    from emres.run.evaluate_steps import steps

    with console.progress(len(steps(plan)), "maps") as report:
        found = evaluate(plan, report)
    if card is not None:
        write_card(card, plan.model.contract, found.evaluation)
    if console.as_json:
        console.data(found.evaluation)
    else:
        _show(console, found)
        console.say(f"output: {plan.folder / 'evaluation.md'}, {plan.folder / FILE}")
    return 3 if found.evaluation["failed"] else 0


def _show(console: Console, found: Evaluated) -> None:
    """Print the tables in short, and what failed."""
    import sys

    from emres.run.evaluate_report import TITLES, real_sentences, verdict

    evaluation = found.evaluation
    if console.speaks:
        for density, tables in evaluation["densities"].items():
            rows = [[name, *(_cell(row["mean"][key]) for key in COLUMNS)] for name, row in tables["table"].items()]
            console.table(f"{TITLES[density]}, {tables['maps']} maps", ["mean over maps", *COLUMNS], rows)
            console.say(verdict(tables["verdicts"]))
        for summary in evaluation["real"]["factors"].values() if evaluation["real"] else ():
            console.say(real_sentences(summary))
    for what, why in evaluation["failed"].items():
        print(f"failed: {what}: {why}", file=sys.stderr)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


COMMANDS = (evaluate,)
