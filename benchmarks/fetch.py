"""What bringing files from a server costs over ``curl``: a server on this machine, 4 files at once."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.ingest import noise_map
from benchmarks.report import Row, side_by_side
from emres.archive.download import download
from emres.archive.emdb import Mirror
from emres.archive.entry import Entry
from emres.archive.layout import add_entry, write_lists
from emres.archive.store import Store
from emres.run.fetch import MOST_JOBS, FetchPlan, fetch_entries

SIDES = {"small": 24, "full": 128, "large": 160}  # 128^3: 7.8 MB as .map.gz
FILES = {"small": 3, "full": 20, "large": 20}
WANTED = 1.2


def measure(size: str) -> list[Row]:
    """Return the seconds of downloads, and of ``fetch`` with all it does, over those of ``curl``.

    Downloads are checked as they come, and ``curl`` checks nothing: once as it is, once with ``md5sum`` after it.
    """
    if shutil.which("curl") is None:
        return [Row("downloads / curl", math.nan, how="curl is not installed")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        entries = mirror_of_noise(folder / "mirror", SIDES[size], FILES[size])
        with served(folder / "mirror") as address:
            mirror, here = Mirror.at(address), folder / "here"
            files = {mirror.url(entry.file("map").path): str(entry.file("map").md5) for entry in entries}

            def bring() -> None:
                empty(here)
                with ThreadPoolExecutor(MOST_JOBS) as pool:
                    list(pool.map(lambda url: download(url, here / Path(url).name, md5=files[url]), files))

            def fetch() -> None:
                shutil.rmtree(folder / "store", ignore_errors=True)
                plan = FetchPlan(Store(folder / "store"), mirror)
                outcomes = list(fetch_entries([entry.emdb_id for entry in entries], plan))
                assert all(outcome.status == "done" for outcome in outcomes), outcomes

            def curl() -> None:
                empty(here)
                options = ["--silent", "--fail", "--parallel", "--parallel-max", str(MOST_JOBS), "--remote-name-all"]
                # Together they show their progress, however silent each is to be.
                subprocess.run(["curl", *options, *files], check=True, cwd=here, stderr=subprocess.DEVNULL)

            def checked() -> None:
                curl()
                names = "\n".join(Path(url).name for url in files)
                command = ["xargs", "--max-procs", str(MOST_JOBS), "--max-args", "1", "md5sum"]
                subprocess.run(command, check=True, cwd=here, input=names, text=True, stdout=subprocess.DEVNULL)

            cases = (
                ("downloads, checked / curl", bring, curl, WANTED),
                ("downloads, checked / curl and md5sum", bring, checked, None),
                ("fetch into the store / curl", fetch, curl, None),
            )
            return [_row(what, len(files), limit, *side_by_side(ours, theirs)) for what, ours, theirs, limit in cases]


def _row(what: str, files: int, wanted: float | None, ours: float, theirs: float) -> Row:
    how = f"{ours:.2f} s / {theirs:.2f} s, {files} files, {MOST_JOBS} at once"
    return Row(what, ours / theirs, wanted, how=how)


def mirror_of_noise(root: Path, side: int, count: int) -> list[Entry]:
    """Write a mirror whose entries all hold the same map of noise."""
    root.mkdir()
    packed = noise_map(root, side)
    facts = [Entry(f"EMD-{9000 + number}", "noise", release_date="2024-01-03") for number in range(count)]
    entries = [add_entry(root, fact, {"map": packed}) for fact in facts]
    write_lists(root, entries)
    return entries


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder from a process of its own; yield its address."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{server.stdout.readline().split(' port ')[1].split()[0]}"
        finally:
            server.terminate()


def empty(folder: Path) -> None:
    """Leave a folder with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
