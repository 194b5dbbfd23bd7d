"""Options that several commands share, told once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from emres.cli.console import Console

Command = TypeVar("Command", bound=Callable[..., Any])

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

PATH = click.Path(path_type=Path)


def with_console(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json``, ``--quiet`` and ``--verbose``, and pass the console they make as the first argument."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON for machines, and nothing else.")
    @click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
    @click.option("-v", "--verbose", is_flag=True, help="Tell more of what is going on.")
    @wraps(function)
    def wrapped(*, as_json: bool, quiet: bool, verbose: bool, **rest: Any) -> Any:
        return function(Console(as_json, quiet, verbose), **rest)

    return wrapped


def predicting(command: Command) -> Command:
    """Add the options of a prediction: ``--model``, ``--mask``, ``--device``."""
    model = click.option(
        "--model",
        default="emres-small",
        show_default=True,
        metavar="NAME|FOLDER",
        help="A model that ships with emres, or the folder of a bundle.",
    )
    return masking(model(command))


def masking(command: Command) -> Command:
    """Add what every method has: ``--mask``, ``--device``."""
    options = (
        click.option(
            "--mask",
            default="auto",
            show_default=True,
            metavar="auto|contour|none|FILE",
            help="Where to answer: found automatically, above the author's contour level, everywhere, or a "
            "mask on the map's grid.",
        ),
        click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda", help="Where to compute."),
    )
    for option in options:
        command = option(command)
    return command


def on_cluster(command: Command) -> Command:
    """Add ``--cluster [SPEC]``."""
    return click.option(
        "--cluster",
        is_flag=False,
        flag_value="local",
        metavar="[SPEC]",
        help="local (the default), local:WORKERS, gpu, slurm[:OPTION=VALUE,...], ssh:HOST,HOST, tcp://HOST:PORT, "
        "tls://HOST:PORT, a scheduler file, or a .toml or .yaml file of options; see emres cluster --help.",
    )(command)


def archive(command: Command) -> Command:
    """Add the options that say where the archive is: ``--mirror``, ``--api``."""
    options = (
        click.option(
            "--mirror",
            envvar="EMRES_MIRROR",
            metavar="URL|FOLDER",
            help="Any mirror of EMDB's layout: https://, file:// or a folder. [env EMRES_MIRROR; default the "
            "archive at EMBL-EBI]",
        ),
        click.option(
            "--api", envvar="EMRES_API", metavar="URL", help="EMDB's REST address, for --query. [env EMRES_API]"
        ),
    )
    for option in options:
        command = option(command)
    return command


def selecting(command: Command) -> Command:
    """Add the ways to name entries: arguments, ``--list`` and ``--query``."""
    options = (
        click.argument("ids", nargs=-1, metavar="[EMD-ID]..."),
        click.option("--list", "list_file", type=PATH, metavar="FILE", help="A file with one accession a line."),
        click.option(
            "--query",
            metavar="QUERY",
            help="EMDB's search language, as in 'resolution:[2 TO 3] AND half_map_filename:[* TO *]'.",
        ),
    )
    for option in options:
        command = option(command)
    return command


def to_store(required: bool = True, default: str | None = None) -> Callable[[Command], Command]:
    """Add ``--to STORE``."""
    return click.option(
        "--to",
        "store",
        type=PATH,
        required=required,
        default=default,
        show_default=default is not None,
        metavar="STORE",
        help="The folder that holds the entry groups.",
    )
