"""What reports are made of in tests: a ball of known size and resolution; and the page of it, opened."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imread

from emres.view.report.codes import coded_density, coded_resolution
from emres.view.report.data import ReportData, ResultShown
from emres.view.report.distribution import Distribution
from emres.view.report.html import render
from emres.volume.grid import Grid

RADIUS = 15.0  # Å
LEVEL = 0.5
GRID = Grid((40, 36, 44), (1.0, 1.25, 1.0), (-10.0, 5.0, 100.0))
MIDDLE = tuple(length / 2 for length in GRID.extent)


def ball_radius(grid: Grid = GRID) -> np.ndarray:
    """Å from the middle of the box."""
    axes = [(np.arange(n) + 0.5) * size for n, size in zip(grid.shape, grid.voxel_size, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    middle = [length / 2 for length in grid.extent]
    return np.sqrt((z - middle[0]) ** 2 + (y - middle[1]) ** 2 + (x - middle[2]) ** 2)


def ball_density(grid: Grid = GRID) -> np.ndarray:
    """1 inside and 0 outside, falling through a half at the radius."""
    return np.clip(0.5 + (RADIUS - ball_radius(grid)) / 8, 0, 1).astype(np.float32)


def half_and_half(grid: Grid = GRID, fine: float = 4.0, coarse: float = 8.0) -> np.ndarray:
    """Fine in the lower half of x, coarse in the upper, 0 two Å beyond the surface."""
    upper = np.arange(grid.shape[2]) >= grid.shape[2] // 2
    return np.where(ball_radius(grid) < RADIUS + 2, np.where(upper, coarse, fine), 0).astype(np.float32)


def shown(name: str, values: np.ndarray, **facts: Any) -> ResultShown:
    seen = Distribution()
    seen.add(values)
    return ResultShown(name, coded_resolution(values), seen, facts)


def ball_report(*results: np.ndarray, names: tuple[str, ...] = ("first", "second", "third"), **more: Any) -> ReportData:
    """A report of the ball."""
    density = ball_density()
    facts: dict[str, Any] = {"name": "ball", "title": "A ball", "entry": {"resolution": 5.0}, **more}
    return ReportData(
        grid=GRID, start=(0, 0, 0), factor=1, density=coded_density(density, keep=LEVEL), contour_level=LEVEL,
        authors_level=True, results=[shown(name, values) for name, values in zip(names, results, strict=False)],
        samples=np.stack([values.ravel() for values in results]) if results else np.zeros((0, 0), np.float32), **facts,
    )  # fmt: skip


FSC = {
    "frequency": [0.0, 0.1, 0.2, 0.3],
    "curves": {"unmasked": [1.0, 0.9, 0.3, 0.0], "corrected": [1.0, 0.95, 0.5, 0.05]},
    "resolution": {"corrected": {"0.143": 3.6, "0.5": 5.0}},
    "best": "corrected",
}


class Opened:
    """A page in the browser."""

    def __init__(self, browser: Any, folder: Path, report: ReportData) -> None:
        self.browser = browser
        path = folder / "page.html"
        path.write_text(render(report), encoding="utf-8")
        self.open(path)

    def open(self, path: Path) -> None:
        self.browser.get(path.as_uri())
        self.wait("document.documentElement.dataset.ready")

    def wait(self, condition: str) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.browser, 30, 0.05).until(
            lambda browser: browser.execute_script(f"return {condition}")
        )

    def ask(self, expression: str) -> Any:
        return self.browser.execute_script(f"return {expression}")

    def settle(self) -> None:
        """Wait until what was wished for in this frame is drawn."""
        self.browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

    def part(self, css: str) -> Any:
        from selenium.webdriver.common.by import By

        return self.browser.find_element(By.CSS_SELECTOR, css)

    def parts(self, css: str) -> list[Any]:
        from selenium.webdriver.common.by import By

        return list(self.browser.find_elements(By.CSS_SELECTOR, css))

    def press(self, css: str, *keys: str) -> None:
        """Press keys on an element, as a keyboard user does."""
        self.part(css).send_keys(*keys)
        self.settle()

    def choose(self, css: str, words: str) -> None:
        from selenium.webdriver.support.ui import Select

        Select(self.part(css)).select_by_visible_text(words)
        self.settle()

    def click(self, css: str) -> None:
        self.part(css).click()
        self.settle()

    def pixels(self, css: str) -> np.ndarray:
        """What is really seen of an element: (rows, columns, 3), 0-1."""
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", self.part(css))
        return np.asarray(imread(io.BytesIO(self.part(css).screenshot_as_png), format="png"))[..., :3]


def changed(before: np.ndarray, after: np.ndarray) -> float:
    """The share of pixels that differ to the eye; all of them where the size differs."""
    return float((np.abs(before - after).max(axis=-1) > 0.05).mean()) if before.shape == after.shape else 1.0
