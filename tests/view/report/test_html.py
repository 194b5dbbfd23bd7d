from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from emres.view.palette import PALETTES
from emres.view.report.data import to_json
from emres.view.report.html import header_facts, palettes_json, render, result_row, safe_json
from tests.view.report.pages import FSC, ball_report, half_and_half, shown

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}\u2028'\"&"


class Elements(HTMLParser):
    """Every start tag of a page, and the text of its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._inside: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script" and not attrs:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside == "script" and not self.tags[-1][1]:
            self.scripts[-1] += data


def hostile_page() -> str:
    result = half_and_half()
    report = ball_report(
        result, result, names=(HOSTILE, "b"), name=HOSTILE, title=HOSTILE, warnings=[HOSTILE], notes=[HOSTILE],
        entry={"resolution": 5.0, "method": HOSTILE, "resolution_method": HOSTILE, "point_group": HOSTILE}, fsc=FSC,
    )  # fmt: skip
    return render(report)


def test_nothing_from_outside_becomes_markup() -> None:
    plain = Elements(render(ball_report(half_and_half(), half_and_half(), warnings=["w"], notes=["n"], fsc=FSC)))
    hostile = Elements(hostile_page())
    count = [sum(tag == name for tag, _ in hostile.tags) for name in ("script", "img")]
    assert count == [sum(tag == "script" for tag, _ in plain.tags), 0]
    assert hostile.scripts == plain.scripts
    assert not any(name.startswith("on") for _, attributes in hostile.tags for name in attributes)


def test_what_was_hostile_is_still_told_as_it_is() -> None:
    data = re.search(r'id="report">(.*?)</script>', hostile_page(), re.DOTALL)
    assert data is not None
    assert json.loads(data[1])["name"] == HOSTILE


def test_json_ends_no_element_and_takes_no_nan() -> None:
    assert not set("<>&\u2028\u2029") & set(safe_json({HOSTILE: [HOSTILE]}))
    with pytest.raises(ValueError):
        safe_json(float("nan"))


def test_a_page_needs_nothing_from_outside() -> None:
    page = render(ball_report(half_and_half()))
    assert not re.findall(r"""(?:src|href|action)\s*=\s*["']?(?!["']?data:)""", page.split("<script>")[0])
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert not re.findall(r"@import|url\(", page)


def test_the_security_policy_names_exactly_the_scripts_inside() -> None:
    page = Elements(render(ball_report(half_and_half())))
    [policy] = [a["content"] for tag, a in page.tags if tag == "meta" and "content-security-policy" in str(a).lower()]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in page.scripts]
    assert policy is not None
    assert re.findall(r"sha256-([^']+)'", policy.split("script-src")[1]) == hashes
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_numbers_in_the_head_have_units() -> None:
    facts = dict(header_facts(ball_report()))
    assert facts["Reported resolution"] == "5 Å"
    assert facts["Voxel size"] == "1 × 1.25 × 1 Å (x, y, z)"
    assert facts["Box"] == "44 × 36 × 40 voxels"
    assert facts["Contour level"] == "0.5, the author’s"


def test_what_is_not_known_is_not_made_up() -> None:
    facts = dict(header_facts(ball_report(entry={})))
    assert facts["Reported resolution"] == "none"
    assert set(facts) == {"Reported resolution", "Box", "Voxel size", "Contour level"}


def test_a_result_tells_how_it_was_made() -> None:
    facts = {
        "method": "fsc", "maps": ["half_map_1", "half_map_2"], "definition": "dense", "threshold": 0.143,
        "window": 30.0, "parameters": {"sampling_step": 2.0}, "capped_share": 0.125,
        "program": "emres 9", "date": "2026-01-02",
    }  # fmt: skip
    row = result_row(shown("fsc-dense", half_and_half(), **facts))
    details = dict(row["details"])
    assert row["what"] == "Windowed FSC, from the half maps"
    assert (row["median"], row["range"]) == ("4.00 Å", "4.00 to 8.00 Å")
    assert details["threshold"] == "FSC 0.143"
    assert details["window"] == "30.0 Å"
    assert details["at the method's limits"] == "12.5%"
    assert details["sampling step"] == "2"


def test_a_result_without_any_value_says_so() -> None:
    row = result_row(shown("lost", np.full((2, 2, 2), np.nan, dtype=np.float32)))
    assert (row["median"], row["undetermined"]) == ("none", "100.0%")


def test_the_page_offers_the_palettes_of_every_picture() -> None:
    assert [palette["name"] for palette in palettes_json()] == list(PALETTES)


def test_the_piece_shown_lies_where_its_voxels_lie() -> None:
    report = ball_report(half_and_half())
    moved = type(report)(**{**vars(report), "start": (4, 8, 2), "factor": 2})
    # The mean of voxels 4 and 5 lies between them.
    assert moved.shown.origin == pytest.approx((-10 + 4.5, 5 + 8.5 * 1.25, 100 + 2.5))
    assert moved.shown.voxel_size == pytest.approx((2, 2.5, 2))


def test_the_data_of_a_report_without_results_is_json() -> None:
    assert json.loads(safe_json(to_json(ball_report())))["results"] == []
