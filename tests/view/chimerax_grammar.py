"""A little of the grammar of ChimeraX and of classic Chimera, as their manuals tell it, to hold scripts against.

ChimeraX: the pages usageconventions, open, volume, surface, color, colornames, key, 2dlabels, set, graphics, lighting
and view of its User Guide (docs/user/commands/*.html, state of January 2026). Chimera: the pages open, volume, scolor,
colorkey and set of its User's Guide (docs/UsersGuide/midas/*.html).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

Check = Callable[[str], bool]


def matches(pattern: str) -> Check:
    return lambda word: re.fullmatch(pattern, word) is not None


def one_of(*words: str) -> Check:
    return lambda word: word in words


NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
COLOUR = r"(?:#[0-9a-f]{6}|white|black|gray)"
number, colour, whole = matches(NUMBER), matches(COLOUR), matches(r"[1-9]\d*")
model, fraction_pair = matches(r"#[1-9]\d*"), matches(r"[01]?\.\d+,[01]?\.\d+")
truth, anything = one_of("true", "false"), matches(r"(?s).+")

# A color page's palette: value,color:value,color:… without blanks, at least two of them.
pairs = matches(rf"{NUMBER},{COLOUR}(?::{NUMBER},{COLOUR})+")
label = matches(rf"{COLOUR}:{NUMBER}")

# command: what must follow it in order, words that may be repeated after that, options with the check of their value
# (None: the option stands alone)
Command = tuple[list[Check], Check | None, dict[str, Check | None]]

CHIMERAX: dict[str, Command] = {
    "open": ([anything], None, {"id": whole, "name": anything}),
    "volume": (
        [model],
        None,
        {
            "show": None,
            "hide": None,
            "style": one_of("surface", "mesh", "image"),
            "region": one_of("all"),
            "step": whole,
            "level": number,
        },
    ),
    "surface dust": ([model], None, {"size": number, "metric": one_of("area", "size", "volume"), "update": truth}),
    "color sample": (
        [model],
        None,
        {
            "map": model,
            "offset": number,
            "key": truth,
            "update": truth,
            "palette": pairs,
            "range": matches(rf"full|{NUMBER},{NUMBER}"),
            "outsideColor": colour,
        },
    ),
    "key": (
        [label, label],
        label,
        {
            "pos": fraction_pair,
            "size": fraction_pair,
            "fontSize": whole,
            "labelColor": colour,
            "numericLabelSpacing": one_of("equal", "proportional"),
            "ticks": truth,
        },
    ),
    "2dlabels": ([], None, {"text": anything, "xpos": number, "ypos": number, "size": whole, "color": colour}),
    "set": ([], None, {"bgColor": colour}),
    "graphics": ([], None, {"silhouettes": truth}),
    "lighting": ([one_of("default", "simple", "full", "soft", "gentle", "flat")], None, {}),
    "view": ([model], None, {}),
}

CHIMERA: dict[str, Command] = {
    "open nowildcard": ([whole, matches(r"[^\s\"'#]+")], None, {}),
    "volume": (
        [model],
        None,
        {
            "show": None,
            "hide": None,
            "style": one_of("surface", "mesh", "solid"),
            "region": one_of("all"),
            "step": whole,
            "level": number,
        },
    ),
    "scolor": (
        [model, one_of("volume"), model],
        None,
        {"perPixel": truth, "colorOutsideVolume": colour, "offset": number, "cmap": pairs},
    ),
    "colorkey": ([fraction_pair, fraction_pair], None, {"labelColor": colour}),
    "set": ([], None, {"bgColor": colour, "silhouette": None}),
}


def commands(script: str) -> list[str]:
    """The lines of a script that are executed: not blank, and not with # as their first character."""
    return [line for line in script.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def check(line: str, grammar: dict[str, Command]) -> None:
    """Fail with the word that does not fit."""
    lexer = shlex.shlex(line, posix=False, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    words = [word[1:-1] if word[0] in "\"'" else word for word in lexer]
    name = next((name for name in grammar if words[: len(name.split())] == name.split()), None)
    assert name is not None, f"no such command: {line}"
    required, repeated, options = grammar[name]
    rest = words[len(name.split()) :]
    assert len(rest) >= len(required), f"too few arguments: {line}"
    for test, word in zip(required, rest, strict=False):
        assert test(word), f"{word!r} in: {line}"
    rest = rest[len(required) :]
    while rest and repeated and repeated(rest[0]):
        rest = rest[1:]
    if name == "colorkey":
        rest = _without_value_and_colour(rest)
    seen = set()
    while rest:
        option, *rest = rest
        assert option in options, f"no option {option!r} in: {line}"
        assert option not in seen, f"{option} twice in: {line}"
        seen.add(option)
        test = options[option]
        if test is not None:
            assert rest, f"{option} has no value in: {line}"
            assert test(rest[0]), f"{option} {rest[0]!r} in: {line}"
            rest = rest[1:]


def _without_value_and_colour(words: list[str]) -> list[str]:
    """Of colorkey's words: what stands before the closing pairs of value and color."""
    count = 0
    while len(words) >= 2 and number(words[-2]) and colour(words[-1]):
        words, count = words[:-2], count + 1
    assert count >= 2, "a color key needs two values"
    return words
