"""The page in a real browser: what is drawn, what moves it, by pointer and by keyboard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emres.view.report.data import ReportData
from tests.browser import chromium as chromium
from tests.browser import complaints
from tests.view.report.pages import (
    FSC,
    GRID,
    MIDDLE,
    RADIUS,
    Opened,
    ball_radius,
    ball_report,
    changed,
    half_and_half,
    shown,
)
from tests.view.report.test_html import HOSTILE

SURFACE = "#surface"


@pytest.fixture
def ball(chromium: Any, tmp_path: Path) -> Opened:
    """A ball whose two halves have 4 and 8 Å, and a second result that is 6 Å everywhere in it."""
    second = np.where(half_and_half() > 0, np.float32(6), np.float32(0))
    return Opened(chromium, tmp_path, ball_report(half_and_half(), second, fsc=FSC))


def mesh(page: Opened) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (x, y, z in Å) in use, and (Å, 1) or (0, 0) at each."""
    position, resolution, faces = page.ask(
        "['position', 'resolution', 'faces'].map(name => Array.from(emres.view.mesh[name]))"
    )
    used = np.unique(faces)
    return np.reshape(position, (-1, 3))[used], np.reshape(resolution, (-1, 2))[used]


def test_a_page_opens_without_complaint_and_loads_nothing(ball: Opened) -> None:
    assert ball.ask("document.documentElement.dataset.ready") == "yes"
    assert complaints(ball.browser) == []
    assert ball.ask("performance.getEntriesByType('resource').filter(entry => !entry.name.startsWith('data:'))") == []
    assert not ball.part("#failed").is_displayed()


def test_the_surface_of_a_ball_lies_where_the_ball_ends(ball: Opened) -> None:
    vertices, _ = mesh(ball)
    distance = np.linalg.norm(vertices - np.array(MIDDLE[::-1]), axis=1)
    assert len(vertices) > 1000
    assert np.abs(distance - RADIUS).max() < 0.3


def test_normals_point_out_of_the_ball(ball: Opened) -> None:
    position, normal = (
        np.reshape(ball.ask(f"Array.from(emres.view.mesh.{name})"), (-1, 3)) for name in ("position", "normal")
    )
    outward = position - np.array(MIDDLE[::-1])
    assert (np.sum(normal * outward, axis=1) / np.linalg.norm(outward, axis=1)).min() > 0.9


def test_colours_are_those_of_the_ball_with_no_streak_from_outside(ball: Opened) -> None:
    """The mask ends two Å beyond the surface: what is sampled there is 4 or 8 Å, and between them in one cell only."""
    vertices, resolution = mesh(ball)
    assert (resolution[:, 1] == 1).all()
    off = vertices[:, 0] - MIDDLE[2]
    assert np.allclose(resolution[off < -1, 0], 4, atol=0.01)
    assert np.allclose(resolution[off > 1, 0], 8, atol=0.01)
    assert resolution[:, 0].min() >= 3.99


def test_a_resolution_is_carried_to_a_surface_outside_its_mask_but_not_far(chromium: Any, tmp_path: Path) -> None:
    near, far = (np.where(ball_radius() < RADIUS - gap, np.float32(4), np.float32(0)) for gap in (3, 9))
    for values, known in ((near, 1), (far, 0)):
        page = Opened(chromium, tmp_path, ball_report(values))
        assert (mesh(page)[1][:, 1] == known).all()


def test_the_surface_is_seen(ball: Opened) -> None:
    picture = ball.pixels(SURFACE)
    ground = picture[4, 4]
    drawn = np.abs(picture - ground).max(axis=-1) > 0.1
    assert 0.15 < drawn.mean() < 0.7
    rows, columns = np.nonzero(drawn)
    assert abs(rows.mean() / drawn.shape[0] - 0.5) < 0.05
    assert abs(columns.mean() / drawn.shape[1] - 0.5) < 0.05
    coloured = picture[drawn]
    blue, red = coloured[:, 2] - coloured[:, 0] > 0.2, coloured[:, 0] - coloured[:, 2] > 0.2
    assert min(blue.mean(), red.mean()) > 0.2


def test_what_is_not_determined_is_gray_with_no_other_colour_at_its_edge(chromium: Any, tmp_path: Path) -> None:
    values = half_and_half()
    values[values == 8] = np.nan
    picture = Opened(chromium, tmp_path, ball_report(values, entry={})).pixels(SURFACE)
    drawn = np.abs(picture - picture[4, 4]).max(axis=-1) > 0.1
    gray = drawn & (np.ptp(picture, axis=-1) < 0.06)
    assert 0.25 < gray.sum() / drawn.sum() < 0.75
    red, _, blue = np.moveaxis(picture[drawn & ~gray], -1, 0)
    assert (blue - red > 0.12).mean() < 0.02  # 4 Å is in the middle of its scale; blue would be a value that is nowhere


def test_the_surface_turns_and_zooms_by_keyboard_alone(ball: Opened) -> None:
    from selenium.webdriver.common.keys import Keys

    ball.press(SURFACE, "0")  # the ring of the focus is part of the picture
    first = ball.pixels(SURFACE)
    ball.press(SURFACE, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    turned = ball.pixels(SURFACE)
    assert changed(first, turned) > 0.02
    ball.press(SURFACE, "+", "+")
    drawn = [(np.abs(picture - picture[4, 4]).max(axis=-1) > 0.1).mean() for picture in (turned, ball.pixels(SURFACE))]
    assert drawn[1] > 1.3 * drawn[0]
    ball.press(SURFACE, "0")
    assert changed(first, ball.pixels(SURFACE)) < 0.01


def test_the_surface_turns_by_the_pointer(ball: Opened) -> None:
    from selenium.webdriver import ActionChains

    before = ball.ask("emres.view.turn")
    ActionChains(ball.browser).click_and_hold(ball.part(SURFACE)).move_by_offset(80, 0).release().perform()
    ball.settle()
    after = ball.ask("emres.view.turn")
    assert not np.allclose(before, after)
    assert np.linalg.det(np.reshape(after, (3, 3))) == pytest.approx(1, abs=1e-6)


def test_every_control_is_reached_by_the_tab_key_and_shows_its_focus(ball: Opened) -> None:
    from selenium.webdriver.common.keys import Keys

    reached = set()
    for _ in range(40):
        ball.browser.switch_to.active_element.send_keys(Keys.TAB)
        name, outline = ball.ask(
            "[document.activeElement.id || document.activeElement.value || document.activeElement.textContent, "
            "getComputedStyle(document.activeElement).outlineStyle]"
        )
        if ball.ask("document.activeElement === document.body"):
            break
        assert outline == "solid", name
        reached.add(name)
    wanted = {"Dark", "result", "palette", "span", "low", "high", "surface", "contour", "overlay"}
    assert wanted | {"slice-z", "slice-y", "slice-x", "compare-axis", "compare-slider", "scatter-a"} <= reached


def test_the_contour_slider_moves_the_surface_inwards(ball: Opened) -> None:
    from selenium.webdriver.common.keys import Keys

    radius = [np.linalg.norm(mesh(ball)[0] - np.array(MIDDLE[::-1]), axis=1).mean()]
    ball.press("#contour", *[Keys.ARROW_RIGHT] * 30)
    radius.append(np.linalg.norm(mesh(ball)[0] - np.array(MIDDLE[::-1]), axis=1).mean())
    assert radius[1] < radius[0] - 0.3
    assert ball.part("#contour-value").text != "0.500, the author’s"
    ball.click("#reset-contour")
    assert ball.part("#contour-value").text == "0.500, the author’s"
    assert np.linalg.norm(mesh(ball)[0] - np.array(MIDDLE[::-1]), axis=1).mean() == pytest.approx(radius[0])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slider_moves_its_slice(ball: Opened, axis: int) -> None:
    from selenium.webdriver.common.keys import Keys

    name, slider = "zyx"[axis], f"#slice-{'zyx'[axis]}"
    canvas = f"#slices figure:nth-child({axis + 1}) canvas"
    before = ball.pixels(canvas)
    ball.press(slider, *[Keys.ARROW_RIGHT] * 8)
    assert changed(before, ball.pixels(canvas)) > 0.02
    place = GRID.origin[axis] + (GRID.shape[axis] // 2 + 8) * GRID.voxel_size[axis]
    assert ball.part(f"output[for=slice-{name}]").text == f"{place:.1f} Å"


def test_slices_have_the_shape_and_the_common_scale_of_the_map(ball: Opened) -> None:
    sizes = [canvas.size for canvas in ball.parts("#slices canvas")]
    lengths = [(GRID.extent[down], GRID.extent[across]) for down, across in ((1, 2), (0, 2), (0, 1))]
    scales = [(size["height"] / a, size["width"] / b) for size, (a, b) in zip(sizes, lengths, strict=True)]
    assert np.ptp(scales) < 0.05 * np.mean(scales)


def test_a_slice_shows_each_voxel_where_it_is(chromium: Any, tmp_path: Path) -> None:
    values = np.zeros(GRID.shape, dtype=np.float32)
    values[20, 6, 33] = 5.0
    page = Opened(chromium, tmp_path, ball_report(values, entry={}))
    page.browser.execute_script("emres.slices.at = [20, 6, 33]; emres.slices.what = 'resolution'; emres.slices.paint()")
    for axis, (down, across) in enumerate(((1, 2), (0, 2), (0, 1))):
        data = page.ask(
            f"(canvas => [canvas.width, canvas.height, Array.from(canvas.getContext('2d')"
            f".getImageData(0, 0, canvas.width, canvas.height).data)])(emres.slices.views[{axis}].canvas)"
        )
        picture = np.reshape(data[2], (data[1], data[0], 4))[..., :3]
        [[row, column]] = np.argwhere(np.ptp(picture, axis=-1) > 40)
        assert (GRID.shape[down] - 1 - row, column) == ((20, 6, 33)[down], (20, 6, 33)[across])


def test_a_click_in_a_slice_moves_the_other_two_and_the_pointer_reads_values(ball: Opened) -> None:
    from selenium.webdriver import ActionChains

    canvas = ball.parts("#slices canvas")[0]
    quarter = canvas.size["width"] // 4
    ActionChains(ball.browser).move_to_element_with_offset(canvas, quarter, 0).click().perform()
    at = ball.ask("emres.slices.at")
    assert at[0] == GRID.shape[0] // 2
    assert at[2] == pytest.approx(0.75 * GRID.shape[2], abs=1)
    assert ball.part("#slice-x").get_attribute("value") == str(at[2])
    assert ball.part("#readout").text.endswith("local resolution 8.0 Å")


def test_slices_show_map_resolution_or_both(ball: Opened) -> None:
    def colourful() -> float:
        return float((np.ptp(ball.pixels("#slices canvas"), axis=-1) > 0.25).mean())

    shares = {}
    for what in ("map", "resolution", "overlay"):
        ball.click(f"input[value={what}]")
        shares[what] = colourful()
    assert shares["map"] < 0.02 < shares["resolution"]
    assert shares["overlay"] > 0.02


@pytest.mark.parametrize("palette", ["viridis", "cividis"])
def test_a_palette_colours_everything_anew(ball: Opened, palette: str) -> None:
    watched = (SURFACE, "#slices canvas", "#histogram", "#key", "#compare figure:nth-child(2) canvas")
    before = {css: ball.pixels(css) for css in watched}
    ball.choose("#palette", palette)
    assert {css for css in watched if changed(before[css], ball.pixels(css)) < 0.01} == set()


def test_limits_typed_in_move_the_colours_and_nonsense_is_refused(ball: Opened) -> None:
    before = ball.pixels(SURFACE)
    ball.part("#high").clear()
    ball.press("#high", "20")
    assert changed(before, ball.pixels(SURFACE)) > 0.05
    assert ball.part("#span").get_attribute("value") == "own"
    ball.part("#high").clear()
    ball.press("#high", "1")  # below the finest
    assert ball.part("#high").get_attribute("aria-invalid") == "true"
    assert ball.ask("emres.scale.high") == 20
    ball.choose("#span", "of this result")
    assert ball.ask("[emres.scale.low, emres.scale.high]") == [4, 8]
    assert changed(before, ball.pixels(SURFACE)) < 0.01


def test_another_result_is_another_colour_and_another_histogram(ball: Opened) -> None:
    before = {css: ball.pixels(css) for css in (SURFACE, "#slices canvas", "#histogram")}
    ball.choose("#result", "second")
    assert (mesh(ball)[1][:, 0] == 6).all()
    assert all(changed(seen, ball.pixels(css)) > 0.01 for css, seen in before.items())
    assert "median 6.00 Å" in ball.part("#histogram").text


def test_dark_and_light_by_the_button_and_by_the_systems_wish(ball: Opened) -> None:
    def brightness() -> float:
        return float(ball.pixels("body")[:60, :60].mean())

    assert brightness() > 0.9
    ball.click("[data-theme-toggle]")
    assert brightness() < 0.2
    assert ball.pixels("#slices canvas")[3:12, 3:12].mean() < 0.3
    ball.click("[data-theme-toggle]")
    assert brightness() > 0.9
    ball.browser.execute_script("localStorage.clear(); delete document.documentElement.dataset.theme")
    wish = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    ball.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wish)
    assert brightness() < 0.2
    ball.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_plots_tell_their_numbers_with_units(ball: Opened) -> None:
    assert {"median 4.00 Å", "reported 5.00 Å"} <= set(ball.part("#histogram").text.splitlines())
    assert {"3.60 Å", "5.00 Å", "corrected", "resolution (Å)"} <= set(ball.part("#fsc").text.splitlines())
    assert len(ball.parts("#scatter circle")) > 1000


def test_side_by_side_slices_move_together(ball: Opened) -> None:
    from selenium.webdriver.common.keys import Keys

    canvases = [f"#compare figure:nth-child({k}) canvas" for k in (1, 2, 3)]
    before = [ball.pixels(css) for css in canvases]
    ball.press("#compare-slider", *[Keys.ARROW_RIGHT] * 12)
    assert all(changed(seen, ball.pixels(css)) > 0.01 for seen, css in zip(before, canvases, strict=True))
    ball.choose("#compare-axis", "x")
    assert ball.part("#compare-value").text.startswith("x ")


def compared(*names: str) -> ReportData:
    """The ball with results of these methods, the first at 4 and 8 Å and every other one as fine again."""
    values = [half_and_half() / (k + 1) for k in range(len(names))]
    results = [shown(name, array, method=name) for name, array in zip(names, values, strict=True)]
    return replace(ball_report(*values), results=results)


def test_side_by_side_methods_stand_in_the_fields_order(chromium: Any, tmp_path: Path) -> None:
    page = Opened(chromium, tmp_path, compared("net", "resmap", "fsc", "monores"))
    captions = [caption.text.splitlines()[0] for caption in page.parts("#compare figcaption")]
    assert captions == ["map", "monores", "resmap", "fsc", "net"]


def test_side_by_side_all_are_on_one_scale_that_is_told(chromium: Any, tmp_path: Path) -> None:
    """The page's own scale is of one result; side by side a colour has one meaning, unless the reader sets it."""
    page = Opened(chromium, tmp_path, compared("net", "fsc"))  # 4 and 8 Å; 2 and 4 Å

    def colours(figure: int) -> set[tuple[int, ...]]:
        data = page.ask(
            f"(c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data))"
            f"(document.querySelector('#compare figure:nth-child({figure}) canvas'))"
        )
        pixels, counts = np.unique(np.reshape(data, (-1, 4)), axis=0, return_counts=True)
        return {tuple(map(int, pixel)) for pixel in pixels[counts > 20]}

    assert [page.part(f"#compare-{end}").text for end in ("low", "high")] == ["2.00 Å", "8.00 Å"]
    fsc, net = colours(2), colours(3)
    white = (255, 255, 255, 255)
    assert (fsc & net) - {white}  # 4 Å is the same colour in both
    assert fsc != net
    page.part("#high").clear()
    page.press("#high", "6")
    assert page.part("#compare-high").text == "6.00 Å"


def test_the_scatter_begins_with_what_half_maps_say(chromium: Any, tmp_path: Path) -> None:
    page = Opened(chromium, tmp_path, compared("net", "resmap", "fsc"))
    assert [page.ask(f"document.getElementById('scatter-{name}').value") for name in "ab"] == ["0", "2"]
    page = Opened(chromium, tmp_path, compared("net", "resmap"))
    assert page.ask("document.getElementById('scatter-b').value") == "1"


@pytest.mark.parametrize("reported", [3.9, 4.1, 7.9])
def test_no_line_of_the_histogram_runs_through_words(chromium: Any, tmp_path: Path, reported: float) -> None:
    page = Opened(chromium, tmp_path, ball_report(half_and_half(), entry={"resolution": reported}))
    boxes = page.ask(
        "['text.strong', 'line.mark'].map(css => [...document.querySelectorAll('#histogram ' + css)]"
        ".map(e => (b => [b.left, b.right, b.top, b.bottom])(e.getBoundingClientRect())))"
    )
    assert [len(part) for part in boxes] == [2, 2]
    for left, right, top, bottom in boxes[0]:
        for x, _, upper, lower in boxes[1]:
            assert not (left < x < right and upper < bottom - 4 and top + 4 < lower)


def test_the_surface_is_drawn_once_when_a_page_opens(ball: Opened) -> None:
    for _ in range(3):
        ball.settle()
    assert ball.ask("emres.view.canvas.dataset.drawn") == "1"


def test_a_hostile_title_stays_text(chromium: Any, tmp_path: Path) -> None:
    report = ball_report(half_and_half(), half_and_half(), names=(HOSTILE, "b"), name=HOSTILE, title=HOSTILE,
                         warnings=[HOSTILE])  # fmt: skip
    page = Opened(chromium, tmp_path, report)
    assert page.parts("img[src=x]") == []
    assert "<script>alert(1)</script>" in page.part("h1").text
    assert complaints(page.browser) == []


def test_a_map_without_local_resolution_says_so_and_is_shown(chromium: Any, tmp_path: Path) -> None:
    page = Opened(chromium, tmp_path, ball_report())
    assert "no local resolution yet" in page.part("#no-result").text
    assert page.parts("#palette, #histogram, #compare, #mode") == []
    picture = page.pixels(SURFACE)
    assert (np.abs(picture - picture[4, 4]).max(axis=-1) > 0.1).mean() > 0.15
    assert complaints(page.browser) == []


def test_without_webgl_the_rest_of_the_page_works(chromium: Any, tmp_path: Path) -> None:
    broken = (
        "const get = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext = "
        "function (kind, ...rest) { return kind === 'webgl2' ? null : get.call(this, kind, ...rest); }"
    )
    added = chromium.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": broken})
    try:
        page = Opened(chromium, tmp_path, ball_report(half_and_half()))
    finally:
        chromium.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    assert "no WebGL 2" in page.part("#failed").text
    assert (np.ptp(page.pixels("#slices canvas"), axis=-1) > 0.25).any()
    assert complaints(page.browser) == []


def test_a_lost_graphics_context_comes_back_with_the_surface(ball: Opened) -> None:
    before = ball.pixels(SURFACE)
    ball.browser.execute_script(
        "window.lost = emres.view.gl.getExtension('WEBGL_lose_context'); lost.loseContext();"
        "setTimeout(() => lost.restoreContext(), 100)"
    )
    drawn = ball.ask("Number(emres.view.canvas.dataset.drawn)")
    ball.wait(f"Number(emres.view.canvas.dataset.drawn) > {drawn} && !emres.view.gl.isContextLost()")
    ball.settle()
    assert changed(before, ball.pixels(SURFACE)) < 0.02


def test_a_phone_shows_it_all_without_scrolling_sideways(chromium: Any, tmp_path: Path) -> None:
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        page = Opened(chromium, tmp_path, ball_report(half_and_half(), half_and_half(), fsc=FSC))
        assert page.ask("document.documentElement.scrollWidth") == 390
        assert min(canvas.size["width"] for canvas in page.parts("#slices canvas")) > 200
    finally:
        chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
