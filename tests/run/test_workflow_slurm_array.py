"""The SLURM array: its body is run as SLURM would run it, with its variables, and a stand-in for ``emres``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from emres import embedded_mirror
from tests.run.workflows import ROOT

SCRIPT = ROOT / "workflows/slurm_array.sh"
IDS = [f"EMD-{number}" for number in range(1000, 1011)]

# Tells what it was called with, and the list it was given.
STAND_IN = '#!/usr/bin/env bash\necho "$@"\ncat\nexit 3\n'


def task(folder: Path, ids: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "EMRES"))}
    environment |= {"PATH": f"{folder}:{environment['PATH']}", **variables}
    command = ["bash", str(SCRIPT), str(ids), str(folder / "store"), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def array(task_id: int, last: int) -> Mapping[str, str]:
    """Return the variables of a task of ``--array=0-LAST``."""
    return {
        "SLURM_ARRAY_TASK_ID": str(task_id), "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": str(last),
        "SLURM_ARRAY_TASK_COUNT": str(last + 1),
    }  # fmt: skip


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    (tmp_path / "emres").write_text(STAND_IN)
    (tmp_path / "emres").chmod(0o755)
    path = tmp_path / "my ids.txt"
    path.write_text("# a list\n\n" + "".join(f" {name}\r\n" for name in [*IDS, IDS[3]]) + "# the end")
    return path


@pytest.mark.parametrize("tasks", [1, 3, 16])
def test_every_id_is_of_exactly_one_task(tmp_path: Path, ids: Path, tasks: int) -> None:
    shares = []
    for number in range(tasks):
        told = task(tmp_path, ids, "--export", "maps", **array(number, tasks - 1))
        lines = told.stdout.splitlines()
        if told.returncode == 0:
            assert "no id to do" in lines[0]
            continue
        assert told.returncode == 3  # emres' own exit code
        assert lines[1] == f"batch-predict --list /dev/stdin --to {tmp_path}/store --export maps"
        shares.append(lines[2:])
    assert sorted(name for share in shares for name in share) == IDS
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_few_tasks_again_take_the_ids_they_had(tmp_path: Path, ids: Path) -> None:
    again = {"SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_MAX": "7", "SLURM_ARRAY_TASK_COUNT": "2"}
    told = task(tmp_path, ids, **again, SLURM_ARRAY_TASK_ID="3")
    assert told.returncode == 2
    assert "EMRES_TASKS" in told.stderr
    told = task(tmp_path, ids, **again, SLURM_ARRAY_TASK_ID="3", EMRES_TASKS="8")
    assert told.stdout == task(tmp_path, ids, **array(3, 7)).stdout


def test_wrong_calls_are_one_sentence(tmp_path: Path, ids: Path) -> None:
    assert "sbatch --array" in task(tmp_path, ids).stderr
    assert "cannot be read" in task(tmp_path, tmp_path / "none.txt", **array(0, 1)).stderr
    assert "count from 0" in task(tmp_path, ids, **array(5, 5), EMRES_TASKS="3").stderr
    assert "count from 0" in task(tmp_path, ids, **{**array(1, 2), "SLURM_ARRAY_TASK_COUNT": "2"}).stderr


def test_two_tasks_at_once_fill_one_store(tmp_path: Path, toy_model: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("EMD-3197\nEMD-1832\n")
    options = ["--model", str(toy_model), "--export", str(tmp_path / "maps")]
    command = ["bash", str(SCRIPT), str(ids), str(tmp_path / "store"), *options]
    where = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "EMRES_MIRROR": embedded_mirror().root}
    tasks = [subprocess.Popen(command, env={**os.environ, **where, **array(k, 1)}) for k in range(2)]
    assert [process.wait() for process in tasks] == [0, 0]
    assert len(list((tmp_path / "maps").glob("*.mrc"))) == 2


def test_bash_and_sbatch_can_read_it() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 80
    assert os.access(SCRIPT, os.X_OK)
    # sbatch reads its options up to the first command.
    commands = [number for number, line in enumerate(lines) if line and not line.startswith("#")]
    options = [number for number, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert options
    assert max(options) < commands[0]
