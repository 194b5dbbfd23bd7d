"""How much memory one process takes to predict a big map: measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.maps import ball_entry
from benchmarks.report import Row

SIDES = {"small": (48,), "full": (512,), "large": (256, 512, 1024)}
MASKS = ("auto", "none")  # a molecule in 15 % of the box, and nothing skipped
WANTED = {512: 2.0, 1024: 4.0}  # GiB


def measure(size: str) -> list[Row]:
    """Return the peak resident memory of predicting maps of several sizes, GiB."""
    rows = []
    for side in SIDES[size]:
        with tempfile.TemporaryDirectory() as folder:
            entry = ball_entry(Path(folder), side, 1.5).path
            for mask in MASKS[: 1 if side > 512 else 2]:
                facts = in_a_process_of_its_own(entry, mask)
                how = f"{facts['seconds']:.0f} s, arrays in {facts['arrays']}, {facts['blocks']} blocks"
                what = f"peak memory of predicting {side}^3, mask {mask}"
                rows.append(Row(what, facts["peak"] / 2**30, WANTED.get(side), "GiB", how))
    return rows


def in_a_process_of_its_own(entry: Path, mask: str) -> dict[str, Any]:
    """Predict an entry in a fresh process and return what it told of itself."""
    command = [sys.executable, "-m", "benchmarks.memory", str(entry), mask]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    facts: dict[str, Any] = json.loads(told.stdout)
    return facts


def predict_and_tell(entry: str, mask: str) -> dict[str, Any]:
    """Predict an entry and return ``peak`` (bytes), ``seconds``, ``blocks`` and where its ``arrays`` were."""
    from benchmarks.report import seconds
    from emres.run.predict import predict_entry, predict_job

    job = predict_job(entry, mask=mask, device="cpu")
    taken = seconds(lambda: predict_entry(job))
    arrays = "memory" if job.in_memory else "files"
    return {"peak": peak_bytes(), "seconds": taken, "blocks": len(job.plan), "arrays": arrays}


def peak_bytes() -> int:
    """Return the most resident memory this process has had."""
    status = Path("/proc/self/status")
    if status.is_file():
        # getrusage would count the parent's memory in: Linux carries that figure over fork and exec.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    print(json.dumps(predict_and_tell(*sys.argv[1:])))
