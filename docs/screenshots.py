# ruff: noqa: T201
"""Make the pictures of the README and of docs/reports.md, with emres' own commands and Debian's Chromium, no display.

    python docs/screenshots.py                      # of a real map that ships with emres, offline
    python docs/screenshots.py MODEL.cif.gz...      # and of maps simulated from models (the PDB's, say), with half maps

Every command is printed as one would type it. Needs ``chromium`` and ``chromium-driver`` (Debian packages) and
``pip install -c constraints.txt ".[test]"``.
"""

from __future__ import annotations

import argparse
import io
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from selenium import webdriver

import emres
from emres.volume.grid import Grid, make_volume

IMAGES = Path(__file__).parent / "images"
MOST_BYTES = 150_000  # of a picture
MOST_PIXELS = 1280  # across
REAL, BLANK = "EMD-6824", "EMD-0000"
WIDTH = 1280  # pixels of a page
METHODS = ("monores", "resmap", "fsc")

# WebGL by the processor: no graphics card is needed.
_CHROMIUM = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
)  # fmt: skip
_SETTLE = 0.5  # seconds for what is drawn after the page says that it is ready


@dataclass(frozen=True)
class Shot:
    """A part of a page, from the top of one element to the bottom of another.

    Parameters
    ----------
    name : str
        Of the picture.
    page : Path
    first, last : str
        CSS of the elements.
    theme, palette : str
    """

    name: str
    page: Path
    first: str
    last: str
    theme: str = "light"
    palette: str = "rainbow"


def main(arguments: list[str] | None = None) -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL", help="PDB or mmCIF; the first is shown most")
    parser.add_argument("--to", type=Path, default=IMAGES, help="the pictures' folder")
    parser.add_argument("--work", type=Path, help="keep maps and pages in this folder")
    options = parser.parse_args(arguments)
    options.to.mkdir(parents=True, exist_ok=True)
    with workplace(options.work) as work:
        shots = [*real_map(work, options.to), *simulated(work, options.models), *batch(work)]
        with chromium() as browser:
            for shot in shots:
                save(taken(browser, shot), options.to / shot.name)


@contextmanager
def workplace(kept: Path | None) -> Iterator[Path]:
    """Yield a folder: the user's, or one that is gone afterwards."""
    folder = kept or Path(tempfile.mkdtemp(prefix="emres-pictures-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        if kept is None:
            shutil.rmtree(folder)


def command(work: Path, *words: str, may_fail: bool = False) -> None:
    """Print a command of emres, and run it in the workplace."""
    print("emres", shlex.join(words), flush=True)
    ended = subprocess.run([sys.executable, "-m", "emres", *words, "-q"], cwd=work, check=False)
    if ended.returncode and not may_fail:
        raise SystemExit(ended.returncode)


def real_map(work: Path, to: Path) -> list[Shot]:
    """Predict the five maps that ship with emres; a report and a picture of one of them."""
    if not (work / "store").is_dir():
        command(work, "demo", "--to", ".")
    command(work, "report", REAL, "--to", "store", "--force")
    command(work, "export", f"store/{REAL}.zarr", "-o", f"{REAL}.png", "--force")
    save(Image.open(work / f"{REAL}.png").convert("RGB"), to / f"{REAL}.png")
    return [Shot("report.png", work / f"{REAL}_report.html", ".page-head", "#readout")]


def simulated(work: Path, models: list[Path]) -> list[Shot]:
    """Simulate half maps, let every method say what it makes of the first, and the net of all."""
    if not models:
        print("without a model the pictures of half maps stay as they are", flush=True)
        return []
    for model in models:
        shutil.copy(model, work)
    names = [f"{model.name.split('.')[0]}-1" for model in models]
    kind = ("--half-maps", "--recipe", "flexible", "--voxel-size", "1.5", "--resolution", "4")
    command(work, "simulate", *(model.name for model in models), *kind, "--to", "store")
    for method in METHODS:
        command(work, "estimate", f"store/{names[0]}.zarr", "--method", method)
    for name in names:
        command(work, "predict", f"store/{name}.zarr")
    command(work, "report", names[0], "--to", "store", "--force")
    page = work / f"{names[0]}_report.html"
    return [
        Shot("report-dark.png", page, ".toolbar", "#surface-help", "dark", "viridis"),
        Shot("fsc.png", page, "[aria-labelledby=h-histogram]", "[aria-labelledby=h-fsc]"),
        Shot("compare.png", page, "[aria-labelledby=h-compare]", "[aria-labelledby=h-compare]"),
        Shot("scatter.png", page, "[aria-labelledby=h-pairs]", "[aria-labelledby=h-pairs]"),
    ]


def batch(work: Path) -> list[Shot]:
    """Bring in a map that is blank too, as one of any batch is, and show the store."""
    grid = Grid((32, 32, 32), (1.5, 1.5, 1.5))
    emres.write_mrc(work / "blank.mrc", make_volume(np.zeros(grid.shape, np.float32), grid), overwrite=True)
    command(work, "import", "blank.mrc", "--name", BLANK, "--to", "store")
    command(work, "batch-predict", "--all", "--to", "store", may_fail=True)
    command(work, "report", "store", "--force")
    return [Shot("index.png", work / "index.html", ".page-head", "main > .hint")]


@contextmanager
def chromium() -> Iterator[Any]:
    """Yield Debian's Chromium, by selenium."""
    found, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if found is None or driver is None:
        raise SystemExit("chromium and chromedriver are needed: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = found
    for argument in (*_CHROMIUM, f"--window-size={WIDTH},1000"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


def taken(browser: Any, shot: Shot) -> Image.Image:
    """Open the page of a shot and return the picture."""
    browser.get(shot.page.resolve().as_uri())
    for key in ("theme", "palette"):
        browser.execute_script(f"localStorage.setItem('emres-{key}', '{getattr(shot, key)}')")
    browser.refresh()
    end = time.monotonic() + 60
    ready = "return !window.emres?.ready || document.documentElement.dataset.ready"
    while not browser.execute_script(ready) and time.monotonic() < end:
        time.sleep(0.05)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    screen = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    time.sleep(_SETTLE)
    box = browser.execute_script(_BOX, shot.first, shot.last)
    return Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB").crop(tuple(map(int, box)))


_BOX = """
const [first, last] = [...arguments].map((css) => document.querySelector(css).getBoundingClientRect());
const left = Math.min(first.left, last.left), right = Math.max(first.right, last.right), air = 14;
return [left - air, first.top - air, right + air, last.bottom + air];
"""


def save(picture: Image.Image, path: Path) -> None:
    """Save a picture in 256 colours of its own: the ends of a scale are rare, and must not be lost to its middle."""
    if picture.width > MOST_PIXELS:
        picture = picture.resize((MOST_PIXELS, picture.height * MOST_PIXELS // picture.width), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    reduced = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    reduced.save(stream, "png", optimize=True)
    if stream.tell() > MOST_BYTES:
        raise SystemExit(f"{path.name} has {stream.tell():,} bytes, more than {MOST_BYTES:,}")
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(stream.getvalue())
    part.replace(path)
    print(f"{path}: {picture.width} x {picture.height}, {stream.tell() / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
