"""Killed at its first, second, … step on the disk: the same command goes on, and nothing of the first try stays."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from emres import embedded_mirror

# A process for every step would spend its time on importing torch: one imports it, and forks for every try.
SCRIPT = """
import json, os, signal, sys, traceback
from pathlib import Path
import torch
import emres, emres.run.api, emres.run.batch, emres.run.predict, emres.archive.writer, emres.model.bundle

WRITING = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.link"}
root, model, mirror, first, stride = *sys.argv[1:4], *map(int, sys.argv[4:])

def run(folder):
    torch.set_num_threads(1)
    outcomes = emres.batch_predict(["EMD-3197"], folder / "store", model=model, mirror=emres.Mirror.at(mirror),
                                   export=folder / "maps")
    assert [outcome.reason for outcome in outcomes] == [""]

def killed_at(step, folder):
    steps = iter(range(1, step))
    def hook(event, about):
        if event not in WRITING or not isinstance(about[0], (str, bytes, os.PathLike)):
            return
        reads = event == "open" and not about[2] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
        if not reads and os.fsdecode(about[0]).startswith(str(folder)) and next(steps, None) is None:
            (Path(root) / "told").write_text(f"{event} {os.fsdecode(about[0])[len(str(folder)):]}")
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    run(folder)

def forked(work, *given):
    child = os.fork()
    if not child:
        try:
            work(*given)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

step, ended = first, -signal.SIGKILL
while ended == -signal.SIGKILL:
    folder = Path(root) / str(step)
    ended = forked(killed_at, step, folder)
    told = (Path(root) / "told").read_text() if ended else "never"
    again = forked(run, folder)
    print(json.dumps({"step": step, "told": told, "ended": ended, "again": again}), flush=True)
    step += stride
"""


def files_below(folder: Path) -> dict[str, bytes]:
    """What is there, but for notes of when: of runs and results, which differ from one run to the next."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.suffix == ".mrc" else b""
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("first", "stride"), [(6, 31), pytest.param(1, 1, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
def test_killed_at_any_step_on_the_disk_the_same_command_goes_on(
    tmp_path: Path, toy_model: Path, first: int, stride: int
) -> None:
    given = [str(tmp_path), str(toy_model), embedded_mirror().root, str(first), str(stride)]
    ended = subprocess.run([sys.executable, "-c", SCRIPT, *given], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    tries = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(tries) > 100 / stride
    undisturbed = files_below(tmp_path / str(tries[-1]["step"]))
    assert tries[-1]["ended"] == 0
    for one in tries:
        assert one["again"] == 0, (one, ended.stderr)
        assert files_below(tmp_path / str(one["step"])) == undisturbed, one
