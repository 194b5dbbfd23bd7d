"""The page of a batch in a real browser: sorted, filtered and turned over, by pointer and by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emres.view.report.index import BatchShown, IndexRow, render_index
from emres.view.thumbnail import thumbnail
from tests.browser import chromium as chromium
from tests.browser import complaints
from tests.view.report.test_html import HOSTILE
from tests.view.test_slices import pair

MANY = 5000
MOST_MS = 200

LAID_OUT = "{}; document.body.offsetHeight"


def row(number: int, picture: bytes) -> IndexRow:
    median = 2 + (number * 7919 % MANY) / 1000  # every one another
    status = "outlier" if number < 5 else "failed" if number < 25 else "done"
    return IndexRow(
        f"EMD-{1000 + number}",
        f"Structure {number} of something whose title is as long as such titles are",
        status,
        reason="the map is constant" if status == "failed" else "",
        median=None if status == "failed" else median,
        spread=1.5,
        reported=round(1.5 + number % 50 / 10, 1),
        difference=None if status == "failed" else median - 3,
        deviation=None if status == "failed" else median - 4,
        model="net@1" if number % 2 else "fsc",
        warnings=("this map looks masked",) if number % 100 == 0 else (),
        report="./EMD-1001_report.html" if number == 1 else "",
        thumbnail=picture,
    )


class Table:
    """The page, opened."""

    def __init__(self, browser: Any, folder: Path, rows: list[IndexRow]) -> None:
        self.browser = browser
        (folder / "index.html").write_text(render_index(BatchShown("a batch", rows, 1.13)), encoding="utf-8")
        browser.get((folder / "index.html").as_uri())
        browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})

    def column(self, number: int) -> list[str]:
        cells = "document.querySelectorAll(`#entries tbody tr > :nth-child(${arguments[0]})`)"
        return list(self.browser.execute_script(f"return [...{cells}].map((cell) => cell.innerText)", number))

    def names(self) -> list[str]:
        return [text.split("\n")[0] for text in self.column(2)]

    def timed(self, script: str) -> float:
        """Milliseconds of the page's thread until all is laid out: as long as it takes where nothing else runs."""
        before = self.thread()
        self.browser.execute_script(LAID_OUT.format(script))
        spent = self.thread() - before
        assert spent > 0
        return 1000 * spent

    def thread(self) -> float:
        """Seconds that the page's thread has had of the processor."""
        metrics = self.browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))

    def sort(self, column: str) -> float:
        return self.timed(f"document.querySelector('th[data-column={column}] button').click()")

    def put(self, identifier: str, value: object) -> float:
        return self.timed(
            f"const input = document.getElementById('{identifier}'); input.value = '{value}';"
            "input.dispatchEvent(new Event('input'))"
        )

    def said(self) -> str:
        return str(self.browser.find_element("id", "shown").text)


@pytest.fixture(scope="module")
def table(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Table:
    picture = thumbnail(*pair(), 2000)
    return Table(chromium, tmp_path_factory.mktemp("index"), [row(k, picture) for k in range(MANY)])


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> None:
    if "table" in request.fixturenames:
        request.getfixturevalue("table").browser.refresh()


def test_the_page_opens_without_complaint_and_loads_nothing(table: Table) -> None:
    assert table.names() == [f"EMD-{1000 + k}" for k in range(100)]
    assert table.said() == "1 to 100 of 5,000"
    loaded = "return performance.getEntriesByType('resource').filter(entry => !entry.name.startsWith('data:')).length"
    assert table.browser.execute_script(loaded) == 0
    drawn = "return [...document.querySelectorAll('#entries img')].filter(i => i.complete && i.naturalWidth).length"
    assert table.browser.execute_script(drawn) == 100
    assert complaints(table.browser) == []


def test_five_thousand_rows_are_sorted_up_and_down_in_less_than_200_ms(table: Table) -> None:
    for column, number in (("median", 4), ("name", 2), ("deviation", 8), ("model", 9)):
        times = [table.sort(column)]
        up = table.column(number)
        assert table.browser.find_elements("css selector", "th[aria-sort]")[0].get_attribute("data-column") == column
        times.append(table.sort(column))
        down = table.column(number)
        assert max(times) < MOST_MS
        assert up != down
    table.sort("median")
    values = [float(text) for text in table.column(4)]
    assert values == sorted(values)
    table.sort("median")
    values = [float(text) for text in table.column(4)]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(7.0, abs=0.05)


def test_what_has_no_value_stands_last_up_and_down(table: Table) -> None:
    table.put("size", 500)
    last = "for (let k = 0; k < 9; k++) document.getElementById('next').click()"
    for _ in range(2):
        table.sort("median")
        table.timed(last)
        column = table.column(4)
        assert column[-20:] == [""] * 20
        assert "" not in column[:-20]


def test_five_thousand_rows_are_filtered_in_less_than_200_ms(table: Table) -> None:
    found = {
        ("find", "emd-5321"): (1, 1),
        ("find", "LONG structure 999"): (sum("999" in f"{1000 + k} {k}" for k in range(MANY)),) * 2,
        ("status", "outlier"): (5, 5),
        ("status", "warned"): (50, 50),
        ("model", "fsc"): (2500, 100),
        ("from", 6.4): (100, 100),
        ("to", 1.49): (0, 0),
    }
    for (field, value), (count, shown) in found.items():
        assert table.put(field, value) < MOST_MS
        assert len(table.names()) == shown
        assert table.said().startswith("none" if not count else f"1 to {shown} of {count:,}"), (field, value)
        assert table.put(field, "") < MOST_MS
    table.put("status", "failed")
    assert all("failed" in text and "the map is constant" in text for text in table.column(3))
    table.put("find", "emd-1007")
    assert table.names() == ["EMD-1007"]
    table.browser.find_element("id", "clear").click()
    assert table.said() == "1 to 100 of 5,000"


def test_a_keyboard_is_enough(table: Table) -> None:
    from selenium.webdriver import ActionChains, Keys

    def press(*keys: str) -> None:
        for key in keys:
            ActionChains(table.browser).send_keys(key).perform()

    press("/", *"4321")
    assert table.browser.switch_to.active_element.get_attribute("id") == "find"
    assert table.names() == ["EMD-4321", "EMD-5321"]
    press(Keys.ESCAPE)
    assert table.said() == "1 to 100 of 5,000"
    focused: list[str] = []
    for _ in range(30):
        press(Keys.TAB)
        focused.append(table.browser.switch_to.active_element.text)
        if focused[-1].startswith("Median"):
            break
    assert focused[-1].startswith("Median")
    press(Keys.ENTER)
    assert table.column(4)[0] == "2.00"
    press(Keys.SPACE)
    assert table.column(4)[0] == "7.00"
    table.browser.find_element("id", "next").send_keys(Keys.ENTER)
    assert table.said() == "101 to 200 of 5,000"


def test_links_lead_to_the_reports_that_are_there(table: Table) -> None:
    links = table.browser.find_elements("css selector", "#entries a")
    assert [link.get_attribute("href").rsplit("/", 1)[1] for link in links] == ["EMD-1001_report.html"]


def test_light_and_dark_are_both_readable(table: Table) -> None:
    seen = []
    for theme in ("light", "dark"):
        table.browser.execute_script(f"document.documentElement.dataset.theme = '{theme}'")
        for selector in ("tbody th", "tbody small", ".flag.outlier", "thead button"):
            seen.append(table.browser.execute_script(CONTRAST, selector))
    assert min(seen) > 4.5, seen


CONTRAST = """
const light = (text) => {
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const [r, g, b] = text.match(/[\\d.]+/g).map((v) => linear(v / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
let node = document.querySelector(`#entries ${arguments[0]}`);
const ink = light(getComputedStyle(node).color);
while (/rgba\\(0, 0, 0, 0\\)|transparent/.test(getComputedStyle(node).backgroundColor)) node = node.parentElement;
const ground = light(getComputedStyle(node).backgroundColor);
return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
"""


@pytest.fixture
def opened(chromium: Any, tmp_path: Path) -> Callable[[list[IndexRow]], Table]:
    return lambda rows: Table(chromium, tmp_path, rows)


def test_hostile_titles_and_reasons_are_text(opened: Callable[[list[IndexRow]], Table]) -> None:
    rows = [IndexRow(HOSTILE, HOSTILE, "failed", HOSTILE, model=HOSTILE, warnings=(HOSTILE,)), IndexRow("b", model="m")]
    table = opened(rows)
    assert complaints(table.browser) == []
    assert table.column(2)[0].count("onerror=alert(1)") == 2
    assert not table.browser.find_elements("css selector", "img")
    table.put("find", "alert(1)")
    assert len(table.names()) == 1


def test_one_entry_and_none_have_a_page(opened: Callable[[list[IndexRow]], Table]) -> None:
    assert opened([]).said() == "none of 0"
    table = opened([IndexRow("a")])
    assert table.said() == "1 to 1 of 1"
    assert table.column(3) == ["no local resolution"]
    assert complaints(table.browser) == []
