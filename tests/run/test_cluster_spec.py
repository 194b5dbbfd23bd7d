from __future__ import annotations

from pathlib import Path

import dask
import pytest

from emres.errors import UsageError
from emres.run.cluster_slurm import walltime_seconds
from emres.run.cluster_spec import parse_cluster

SLURM = """
cluster = "slurm"
partition = "gpu"
account = "em"
walltime = "04:00:00"
jobs = 3
gpus = 2
memory = "64GB"
prologue = ["module load python", "source /soft/emres/bin/activate"]
"""


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


@pytest.mark.parametrize(
    ("spec", "option", "value"),
    [
        ("local", "workers", None),
        ("local:3", "workers", 3),
        ("gpu", "devices", ()),
        ("gpu:0,2", "devices", ("0", "2")),
        ("slurm", "jobs", 1),
        ("slurm:partition=gpu,jobs=4", "jobs", 4),
        ("slurm:encrypt=no", "encrypt", False),
        ("ssh:node1,me@node2", "hosts", ("node1", "me@node2")),
        ("tcp://10.0.0.5:8786", "address", "tcp://10.0.0.5:8786"),
        ("tls://node:8786", "address", "tls://node:8786"),
    ],
)
def test_a_word_says_a_cluster(spec: str, option: str, value: object) -> None:
    assert getattr(parse_cluster(spec), option) == value


def test_toml_and_yaml_say_the_same(tmp_path: Path) -> None:
    toml = parse_cluster(written(tmp_path, "farm.toml", SLURM))
    yaml = parse_cluster(written(tmp_path, "farm.yaml", SLURM.replace(" = ", ": ")))
    assert toml == yaml
    assert (toml.kind, toml.jobs, toml.gpus, toml.prologue[0]) == ("slurm", 3, 2, "module load python")


def test_dask_s_configuration_is_the_default_and_the_command_line_wins() -> None:
    with dask.config.set({"emres.cluster.slurm": {"partition": "long", "queue-timeout": 60, "jobs": 2}}):
        spec = parse_cluster("slurm:jobs=5")
    assert (spec.partition, spec.queue_timeout, spec.jobs) == ("long", 60.0, 5)


def test_a_queue_is_waited_for_longer_than_this_machine() -> None:
    assert parse_cluster("slurm").queue_timeout > 100 * parse_cluster("local").queue_timeout


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("slurm:partitions=gpu", "a slurm cluster has no such option"),
        ("slurm:gpu", "is no option"),
        ("slurm:jobs=0", "expected 1 or more"),
        ("slurm:jobs=many", "expected a whole number"),
        ("slurm:encrypt=perhaps", "expected true or false"),
        ("ssh:", "unknown cluster"),
        ("ssh", "no host to start workers on"),
        ("ssh:-oProxyCommand=sh", "is no host"),
        ("missing.toml", "cannot be read"),
    ],
)
def test_a_wrong_word_is_told(spec: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_cluster(spec)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cluster = ", "is no TOML"),
        ("jobs = 3", "says no kind of cluster"),
        ("cluster = 'kubernetes'", "says no kind of cluster"),
        ("cluster = ['slurm']", "says no kind of cluster"),
        ("cluster = 'local'\njobs = 3", "a local cluster has no such option"),
        ("cluster = 'slurm'\njobs = 1.5", "expected a whole number"),
        ("cluster = 'slurm'\npartition = ''", "expected a word"),
        ("cluster = 'slurm'\nprologue = 3", "expected a list of words"),
        ("cluster = 'slurm'\nqueue_timeout = nan", "expected seconds"),
        ("cluster = 'running'", "no address"),
    ],
)
def test_a_wrong_file_is_told(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        parse_cluster(written(tmp_path, "c.toml", text))


@pytest.mark.parametrize(
    ("walltime", "seconds"),
    [("90", 5400), ("2:30", 150), ("01:00:00", 3600), ("1-0", 86400), ("1-2:30", 95400), ("2-00:00:01", 172801)],
)
def test_a_walltime_is_read_as_slurm_reads_it(walltime: str, seconds: float) -> None:
    assert walltime_seconds(walltime) == seconds


@pytest.mark.parametrize("walltime", ["an hour", "1:2:3:4", "-1", "1h", ""])
def test_a_walltime_that_is_none_is_told(walltime: str) -> None:
    with pytest.raises(UsageError, match="walltime"):
        walltime_seconds(walltime)
