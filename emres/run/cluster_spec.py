"""What ``--cluster`` may say: one word, or a file that says more. Words and numbers only; nothing is started here."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_type_hints

from emres.errors import UsageError
from emres.run.cluster_values import value_of

KINDS = (
    "local, local:WORKERS, gpu, gpu:0,1, slurm, slurm:partition=NAME,jobs=4, ssh:HOST,HOST, tcp://HOST:PORT, "
    "tls://HOST:PORT, a scheduler file (.json) or a file of options (.toml, .yaml)"
)


@dataclass(frozen=True)
class ClusterSpec:
    """A cluster to be started, or one that runs.

    Parameters
    ----------
    kind : {"local", "gpu", "slurm", "ssh", "running"}
    workers : int, optional
        Worker processes: on this machine (``local``), a job (``slurm``) or a host (``ssh``); as many as suit by
        default.
    threads : int, optional
        Cores of a worker; it computes one task at a time, with all of them.
    memory : str, optional
        Of a worker (``local``, ``ssh``) or a job (``slurm``), as in ``"16GB"``.
    devices : tuple of str
        GPUs to pin workers to, as CUDA numbers them or by UUID; those that are visible by default.
    address : str, optional
        Of a running scheduler, or its file.
    hosts : tuple of str
        Where ``ssh`` starts workers, each as in ``ssh HOST``; a host may be named twice.
    jobs : int
        Jobs that SLURM is asked for; each runs ``workers`` workers, and is replaced when it ends.
    partition, account, walltime : str, optional
        Of a job, as SLURM takes them; the walltime as ``HH:MM:SS`` or ``D-HH:MM:SS``.
    gpus : int
        GPUs of a job (``slurm``) or a host (``ssh``), one worker each.
    directives : tuple of str
        More ``#SBATCH`` lines, as in ``"--qos=long"``.
    prologue : tuple of str
        Shell lines that a job runs first (``module load ...``, ``source .../activate``).
    python : str, optional
        The interpreter on the other machines; the path of this one by default.
    ssh_options : tuple of str
        For the ``ssh`` program, as in ``("-p", "2222")``.
    host : str, optional
        The address under which the other machines find this one.
    interface : str, optional
        The network device for it instead, as in ``"ib0"``.
    dashboard : str, optional
        Where the dashboard listens, ``HOST:PORT``; on this machine only by default.
    shared_folder : str, optional
        Where SLURM's nodes read the certificates: a folder that all of them see, else the home folder.
    queue_timeout : float
        Seconds to wait for the first worker, and with a task that no worker fits.
    encrypt : bool
        Whether the machines talk by TLS.

    Examples
    --------
    >>> parse_cluster("local:4").workers
    4
    >>> parse_cluster("slurm:partition=gpu,jobs=2,gpus=1").partition
    'gpu'
    >>> parse_cluster("ssh:node1,node2").hosts
    ('node1', 'node2')
    """

    kind: str = "local"
    workers: int | None = None
    threads: int | None = None
    memory: str | None = None
    devices: tuple[str, ...] = ()
    address: str | None = None
    hosts: tuple[str, ...] = ()
    jobs: int = 1
    partition: str | None = None
    account: str | None = None
    walltime: str | None = None
    gpus: int = 0
    directives: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    python: str | None = None
    ssh_options: tuple[str, ...] = ()
    host: str | None = None
    interface: str | None = None
    dashboard: str | None = None
    shared_folder: str | None = None
    queue_timeout: float = 300.0
    encrypt: bool = True
    said: str = field(default="local", compare=False)


_HERE = {"workers", "threads", "memory", "dashboard", "queue_timeout"}
_ELSEWHERE = _HERE | {"gpus", "python", "host", "interface", "encrypt"}
# Which options a kind of cluster takes; any other is a mistake that must not pass in silence.
OPTIONS = {
    "local": _HERE,
    "gpu": (_HERE - {"workers"}) | {"devices"},
    "slurm": _ELSEWHERE | {"jobs", "partition", "account", "walltime", "directives", "prologue", "shared_folder"},
    "ssh": _ELSEWHERE | {"hosts", "ssh_options"},
    "running": {"address", "queue_timeout"},
}
# A queue is waited for: a job may start tomorrow.
_QUEUE_TIMEOUT = {"slurm": 24 * 3600.0}
_TYPES = get_type_hints(ClusterSpec)


def parse_cluster(spec: str) -> ClusterSpec:
    """Return what a word or a file says.

    Parameters
    ----------
    spec : str
        One of those in :data:`KINDS`.

    Raises
    ------
    UsageError
        If it is none of these, names an option that this kind of cluster does not take, or a value that it cannot
        have.
    """
    kind, _, rest = spec.partition(":")
    if kind in ("tcp", "tls") and rest.startswith("//") and len(rest) > 2:
        return ClusterSpec("running", address=spec, said=spec)
    if spec.endswith(".json") and Path(spec).is_file():
        return ClusterSpec("running", address=spec, said=spec)
    if spec.endswith((".toml", ".yaml", ".yml")):
        return _of_file(Path(spec))
    words = {"local": _local, "gpu": _gpu, "slurm": _slurm, "ssh": _ssh}
    if kind not in words or (":" in spec and not rest):
        raise UsageError("unknown cluster", got=spec, expected=KINDS)
    return cluster_of({**configured(kind), **words[kind](spec, rest)}, kind, said=spec)


def cluster_of(options: Mapping[str, Any], kind: str, said: str) -> ClusterSpec:
    """Return a cluster of one kind with these options.

    Parameters
    ----------
    options : mapping
        Option -> value, as :class:`ClusterSpec` calls them.
    kind : str
    said : str
        Where the options come from, for messages.

    Raises
    ------
    UsageError
    """
    unknown = sorted(set(options) - OPTIONS[kind])
    if unknown:
        raise UsageError(
            f"{said}: a {kind} cluster has no such option", got=", ".join(unknown), expected=", ".join(_sorted(kind))
        )
    values = {name: value_of(_TYPES[name], value, f"{said}: {name}") for name, value in options.items()}
    values.setdefault("queue_timeout", _QUEUE_TIMEOUT.get(kind, ClusterSpec.queue_timeout))
    spec = replace(ClusterSpec(kind, said=said), **values)
    if kind == "ssh" and not spec.hosts:
        raise UsageError(f"{said}: no host to start workers on", expected="ssh:HOST,HOST", cure="name one or more")
    if odd := [host for host in spec.hosts if host.startswith("-") or len(host.split()) != 1]:
        # ssh would take it for an option, and options can run commands.
        raise UsageError(f"{said}: {odd[0]!r} is no host", expected="HOST or USER@HOST")
    if kind == "running" and not spec.address:
        raise UsageError(f"{said}: no address", expected='address = "tls://HOST:8786"')
    return spec


def configured(kind: str) -> dict[str, Any]:
    """Return the options of this kind in Dask's configuration (``~/.config/dask/emres.yaml``), if there are any.

    Raises
    ------
    UsageError
        If what stands there is no table.
    """
    if kind in ("local", "running"):
        return {}
    import dask

    options = dask.config.get(f"emres.cluster.{kind}", None) or {}
    if not isinstance(options, Mapping):
        raise UsageError(
            f"emres.cluster.{kind} of Dask's configuration", got=repr(options), expected="a table of options"
        )
    # Dask reads hyphens and underscores alike.
    return {str(name).replace("-", "_"): value for name, value in options.items()}


def _sorted(kind: str) -> list[str]:
    return [name for name in _TYPES if name in OPTIONS[kind]]


def _local(spec: str, rest: str) -> dict[str, Any]:
    if rest and not (rest.isdigit() and int(rest) > 0):
        raise UsageError("unknown cluster", got=spec, expected=KINDS)
    return {"workers": int(rest)} if rest else {}


def _gpu(spec: str, rest: str) -> dict[str, Any]:
    return {"devices": _listed(rest)} if rest else {}


def _ssh(spec: str, rest: str) -> dict[str, Any]:
    return {"hosts": _listed(rest)} if rest else {}


def _slurm(spec: str, rest: str) -> dict[str, Any]:
    """Read ``partition=gpu,jobs=2``; a list (directives) needs a file."""
    options: dict[str, Any] = {}
    for pair in _listed(rest):
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"{spec}: {pair!r} is no option", expected="NAME=VALUE, as in slurm:partition=gpu,jobs=2")
        options[name.strip().replace("-", "_")] = value.strip()
    return options


def _listed(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _of_file(path: Path) -> ClusterSpec:
    """Read a file whose ``cluster`` names the kind, and whose other lines are its options."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read", got=str(error), cure="name a file of cluster options") from error
    table = _parsed(path, text)
    kind = table.pop("cluster", None) if isinstance(table, dict) else None
    if not isinstance(kind, str) or kind not in OPTIONS:
        kinds = ", ".join(OPTIONS)
        raise UsageError(f"{path} says no kind of cluster", got=repr(kind), expected=f"cluster = one of {kinds}")
    return cluster_of({str(name).replace("-", "_"): value for name, value in table.items()}, kind, said=str(path))


def _parsed(path: Path, text: str) -> Any:
    import yaml

    try:
        return tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path} is no {path.suffix[1:].upper()}", got=" ".join(str(error).split())) from error
