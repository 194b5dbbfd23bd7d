from __future__ import annotations

import re

import numpy as np
import pytest

from emres.errors import UsageError
from emres.view.chimerax import chimera_script, chimerax_script
from emres.view.palette import PALETTES, palette_for
from tests.view.chimerax_grammar import CHIMERA, CHIMERAX, check, commands

SCALES = [np.linspace(2.2, 7, 50), np.full(9, 4.0), np.linspace(120, 900, 50), np.linspace(1.1, 1.2, 9)]


@pytest.mark.parametrize("name", PALETTES)
@pytest.mark.parametrize("values", SCALES, ids=["usual", "constant", "coarse", "narrow"])
@pytest.mark.parametrize("level", [0.0, -2.5, 1.2e-7, 3.4e9])
def test_every_command_and_argument_is_in_the_manuals(name: str, values: np.ndarray, level: float) -> None:
    palette = palette_for(values, name)
    for line in commands(chimerax_script("a map.mrc", "b.mrc", level, palette, "EMD-1")):
        check(line, CHIMERAX)
    for line in commands(chimera_script("a.mrc", "b.mrc", level, palette, "EMD-1")):
        check(line, CHIMERA)


@pytest.mark.parametrize(
    "line",
    [
        "opne a.mrc id 1", "open a b.mrc id 1", "volume #1 hide show styl surface", "volume #1 level", "volume 1 hide",
        "color sample #1 map #2 palette 1,blau:2,#ff0000", "color sample #1 map #2 palette 1,#ff0000",
        "key #ff0000:1 pos 0.1,0.2", "set bgColor", "lighting dark",
    ],
)  # fmt: skip
def test_the_grammar_refuses_what_is_wrong(line: str) -> None:
    with pytest.raises(AssertionError):
        check(line, CHIMERAX)


@pytest.mark.parametrize("script", [chimerax_script, chimera_script])
def test_colours_stand_for_the_palettes_values_and_the_background_is_gray(script) -> None:
    palette = palette_for(SCALES[0])
    [pairs] = re.findall(r"(?:palette|cmap) (\S+)", script("a.mrc", "b.mrc", 1.0, palette))
    values, colours = zip(*(pair.split(",") for pair in pairs.split(":")), strict=True)
    at = np.array(values, dtype=float)
    assert (np.diff(at) > 0).all(), "values that do not rise"
    rgb = np.array([[int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)] for colour in colours])
    wanted = np.array([0.0, palette.low, *np.linspace(palette.low, palette.high, 20), palette.high + 0.5, 100.0])
    told = np.stack([np.interp(wanted, at, channel) for channel in rgb.T], -1)
    np.testing.assert_allclose(told, palette(wanted), atol=0.01)


@pytest.mark.parametrize("values", SCALES)
def test_the_labels_of_the_key_tell_its_colours_apart(values: np.ndarray) -> None:
    [key] = re.findall(r"^key (.*) pos", chimerax_script("a.mrc", "b.mrc", 1.0, palette_for(values)), re.MULTILINE)
    labels = [float(pair.split(":")[1]) for pair in key.split()]
    assert (np.diff(labels) > 0).all()


def test_the_map_is_shown_at_its_level_and_the_resolution_is_hidden() -> None:
    script = chimerax_script("m.mrc", "r.mrc", 0.0123, palette_for(SCALES[0]))
    [opened, coloured] = re.findall(r"open \S+ id (\d+)", script)
    assert f"volume #{coloured} hide" in script
    assert f"volume #{opened} show style surface region all step 1 level 0.0123" in script
    assert f"color sample #{opened} map #{coloured}" in script


@pytest.mark.parametrize(
    "name", ["my map.mrc", "it's.mrc", "a#1.mrc", "a;close session.mrc", "ümlaut.mrc", "-x.mrc", "(1).mrc"]
)
def test_odd_names_stay_one_word(name: str) -> None:
    line = commands(chimerax_script(name, "r.mrc", 1.0, palette_for(SCALES[0])))[0]
    check(line, CHIMERAX)
    assert line in {f'open "{name}" id 101', f"open {name} id 101"}
    assert not re.search(r"open [^\"]*[ ;#'(]", line.removesuffix(" id 101")[5:])


@pytest.mark.parametrize("name", ['a".mrc', "a\nclose session.mrc", "a*.mrc", "a[1].mrc", "a\\b.mrc", ""])
def test_names_that_no_quote_holds_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="rename"):
        chimerax_script(name, "r.mrc", 1.0, palette_for(SCALES[0]))


@pytest.mark.parametrize("name", ["my map.mrc", "a;b.mrc", 'a".mrc', "#1", ""])
def test_classic_chimera_gets_plain_names_only(name: str) -> None:
    with pytest.raises(UsageError, match="rename"):
        chimera_script("m.mrc", name, 1.0, palette_for(SCALES[0]))


def test_a_title_cannot_leave_its_comment() -> None:
    script = chimerax_script("m.mrc", "r.mrc", 1.0, palette_for(SCALES[0]), "EMD-1\nclose session")
    assert not any(line.startswith("close") for line in commands(script))
