"""``emres cluster``: try a cluster before work is given to it; and the clients of the commands that work on one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from emres.cli.console import Console
from emres.cli.options import CONTEXT, with_console

if TYPE_CHECKING:
    from emres.run.cluster_check import ClusterFacts, WorkerFacts


@click.group("cluster", context_settings=CONTEXT)
def cluster() -> None:
    """Clusters for --cluster SPEC: try one.

    \b
    SPEC is one of:
      local, local:4                     processes on this machine
      gpu, gpu:0,1                       one worker for every GPU of this machine
      slurm, slurm:partition=gpu,jobs=4  jobs of a SLURM cluster
      ssh:host1,host2                    machines that ssh reaches
      tcp://host:8786, tls://host:8786   a Dask scheduler that runs
      scheduler.json                     its file
      cluster.toml, cluster.yaml         any of these with all their options

    \b
    Examples:
      emres cluster check
      emres cluster check slurm:partition=gpu,gpus=1,jobs=2
    """


@cluster.command("check", context_settings=CONTEXT)
@click.argument("spec", default="local", metavar="[SPEC]")
@click.option(
    "--model", default="emres-small", show_default=True, metavar="NAME|FOLDER", help="Whose test block to compute."
)
@with_console
def check(console: Console, spec: str, model: str) -> int:
    """Start a cluster, ask its workers what they are, let each compute a test block, and stop it.

    Shows every worker with its memory, threads and GPUs, and the packages whose versions differ. A scheduler that ran
    before is left running. Exit code 0: fit for emres; 3: some worker is not; 1: no worker came.

    \b
    Examples:
      emres cluster check
      emres cluster check gpu
      emres cluster check ssh:node1,node2
      emres cluster check cluster.toml --json
    """
    from emres.run.cluster import connect
    from emres.run.cluster_check import check_cluster

    with connect(spec, told=lambda link: console.say(f"dashboard: {link}")) as client:
        facts = check_cluster(client, model)
    if console.as_json:
        console.data({"cluster": spec, **facts.to_json()})
    else:
        _show(console, facts)
    return 0 if facts.fit else 3


def _show(console: Console, facts: ClusterFacts) -> None:
    if console.speaks:
        columns = ("worker", "host", "threads", "memory", "GPU", "offers", "test block")
        console.table("", columns, [_row(worker) for worker in facts.workers])
        console.say(f"{len(facts.workers)} workers, {'TLS' if facts.encrypted else 'not encrypted'}")
    for package, found in facts.differing.items():
        told = "; ".join(f"{version} ({', '.join(sorted(names))})" for version, names in found.items())
        click.echo(f"problem: {package} is not the same everywhere: {told}", err=True)
    for worker in facts.workers:
        if worker.problem:
            click.echo(f"problem: {worker.name}: {worker.problem}", err=True)


def _row(worker: WorkerFacts) -> list[str]:
    gpu = ", ".join(worker.devices) or (f"CUDA_VISIBLE_DEVICES={worker.visible}" if worker.visible else "-")
    return [
        worker.name,
        worker.host or "?",
        str(worker.threads or "-"),
        f"{worker.memory_bytes / 1e9:.1f} GB" if worker.memory_bytes else "-",
        gpu,
        ", ".join(f"{name}={count:g}" for name, count in worker.resources.items()) or "-",
        "-" if worker.block_seconds is None else f"{worker.block_seconds:.1f} s",
    ]


@contextmanager
def cluster_of(console: Console, cluster: str | None, tasks: int | None) -> Iterator[Any]:
    """Yield a client for ``--cluster``, having told where its dashboard is; none where there is no such option."""
    if cluster is None:
        yield None
        return
    from emres.run.cluster import connect

    with connect(cluster, tasks=tasks, told=lambda link: console.say(f"dashboard: {link}")) as client:
        yield client


COMMANDS = (cluster,)
