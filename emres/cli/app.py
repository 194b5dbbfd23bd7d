"""The ``emres`` command: its sub-commands, its exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

from emres import __version__
from emres.cli import (
    batch,
    cluster,
    dataset,
    demo,
    estimate,
    evaluate,
    export,
    fetch,
    fsc,
    models,
    predict,
    report,
    simulate,
    store,
    train,
    view,
)
from emres.cli.options import CONTEXT
from emres.errors import EmresError


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="emres")
def app() -> None:
    """Local resolution of cryo-EM maps: one of them, or the whole EMDB.

    \b
    Try it on maps that ship with emres, offline:
      emres demo
    One map:
      emres predict my_map.mrc -o my_map_local_resolution.mrc
    Entries of the archive:
      emres fetch EMD-13939 --to store
      emres batch-predict EMD-13939 EMD-11638 --to store --export results --cluster

    Exit codes: 0 all done, 2 wrong usage, 3 some entries failed, 130 interrupted (the same command goes on), 1 any
    other error.
    """


for command in (
    *fetch.COMMANDS,
    *predict.COMMANDS,
    *estimate.COMMANDS,
    *fsc.COMMANDS,
    *batch.COMMANDS,
    *cluster.COMMANDS,
    *models.COMMANDS,
    *simulate.COMMANDS,
    *dataset.COMMANDS,
    *train.COMMANDS,
    *evaluate.COMMANDS,
    *store.COMMANDS,
    *export.COMMANDS,
    *report.COMMANDS,
    *view.COMMANDS,
    *demo.COMMANDS,
):
    app.add_command(command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        0 all done, 1 anything else, 2 usage, 3 some entries failed, 130 interrupted (state kept).
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return int(app.main(arguments, prog_name="emres", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return 2
    except EmresError as error:
        return _tell(str(error), error.exit_code, "--json" in arguments)
    except (KeyboardInterrupt, click.Abort):
        return _tell("interrupted; the same command goes on from here", 130, "--json" in arguments)


def _tell(sentence: str, code: int, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": sentence, "exit_code": code}, ensure_ascii=False))
    print(f"emres: {sentence}", file=sys.stderr)
    return code
