"""Scripts that open a map in ChimeraX, or in the classic Chimera, coloured by its local resolution."""

from __future__ import annotations

import math
import re

from emres.errors import UsageError
from emres.view.palette import Palette

# A session that is open already has its own #1 and #2; nobody has these.
MAP, RESOLUTION = 101, 102

_HARMLESS = re.compile(r"\w[\w.,+@%=~-]*", re.ASCII)
# What ends a quoted name, or stands for other names.
_NEVER = re.compile(r"""["\\*?\[\]\x00-\x1f\x7f]""")


def chimerax_script(map_name: str, resolution_name: str, level: float, palette: Palette, title: str = "") -> str:
    """Return a ChimeraX command file (``.cxc``) that shows a map coloured by its local resolution.

    Parameters
    ----------
    map_name, resolution_name : str
        Files in the folder of the script: ChimeraX changes to that folder when it opens a script. The resolution should
        be carried beyond its mask, since ChimeraX interpolates between all voxels.
    level : float
        Contour level of the map.
    palette : Palette
    title : str
        Told in the script's first line.

    Returns
    -------
    str
        ASCII but for names; 0 in the resolution map, and what lies far beyond the scale, is gray.

    Raises
    ------
    UsageError
        If a name holds a quotation mark, a backslash, a wild card or a control character.
    """
    pairs = ":".join(f"{value},{colour}" for value, colour in _stops(palette))
    labels = " ".join(f"{colour}:{value}" for value, colour in _key(palette))
    return _joined(
        f"# {_line(title) or 'Local resolution'}: blue is fine, red coarse, gray not determined (Angstrom)",
        "# Open this file in ChimeraX; the maps lie beside it.",
        f"open {_quoted(map_name)} id {MAP}",
        f"open {_quoted(resolution_name)} id {RESOLUTION}",
        f"volume #{RESOLUTION} hide",
        f"volume #{MAP} show style surface region all step 1 level {level:.6g}",
        f"surface dust #{MAP} size {2 * palette.high:.3g}",
        f"color sample #{MAP} map #{RESOLUTION} palette {pairs} outsideColor {palette.gray}",
        f"key {labels} pos 0.86,0.1 size 0.035,0.4 fontSize 18 labelColor black",
        '2dlabels text "local resolution (\\u00c5)" xpos 0.74 ypos 0.53 size 18 color black',
        "set bgColor white",
        "graphics silhouettes true",
        "lighting gentle",
        f"view #{MAP}",
    )


def chimera_script(map_name: str, resolution_name: str, level: float, palette: Palette, title: str = "") -> str:
    """Return a command file (``.cmd``) of the classic Chimera; parameters as of :func:`chimerax_script`.

    Raises
    ------
    UsageError
        If a name holds anything but letters, digits and ``. , _ + @ % = ~ -``: classic Chimera knows no quotes there.
    """
    for name in (map_name, resolution_name):
        if not _HARMLESS.fullmatch(name):
            raise UsageError("classic Chimera cannot open a file of this name", got=repr(name), cure="rename it")
    pairs = ":".join(f"{value},{colour}" for value, colour in _stops(palette))
    labels = " ".join(f"{value} {colour}" for value, colour in _key(palette))
    return _joined(
        f"# {_line(title) or 'Local resolution'}: blue is fine, red coarse, gray not determined (Angstrom)",
        "# Start Chimera in this folder, or change to it first with cd; then: open this file.",
        f"open nowildcard {MAP} {map_name}",
        f"open nowildcard {RESOLUTION} {resolution_name}",
        f"volume #{RESOLUTION} hide",
        f"volume #{MAP} show style surface region all step 1 level {level:.6g}",
        f"scolor #{MAP} volume #{RESOLUTION} perPixel false colorOutsideVolume {palette.gray} cmap {pairs}",
        f"colorkey 0.88,0.1 0.92,0.5 labelColor black {labels}",
        "set bgColor white",
        "set silhouette",
    )


def _stops(palette: Palette) -> list[tuple[str, str]]:
    """Return Å and colour: gray at 0 and up to near the scale, the scale, its last colour, and gray again."""
    below, beyond = palette.low / 2, palette.gray_from
    gray, (first, *_, last) = palette.gray, palette.colours
    stops = [(0.0, gray), (below, gray), (below * 1.001, first), *palette.stops]
    stops += [(beyond, last), (beyond * 1.001, gray)]
    return [(f"{value:.4f}", colour) for value, colour in stops]


def _key(palette: Palette) -> list[tuple[str, str]]:
    step = (palette.high - palette.low) / (len(palette.colours) - 1)
    digits = max(1, -math.floor(math.log10(step)))  # as many as tell one label from the next
    return [(f"{value:.{digits}f}", colour) for value, colour in palette.stops]


def _quoted(name: str) -> str:
    """Return a file name as ChimeraX takes it for one word and nothing but a name."""
    if not name or _NEVER.search(name):
        raise UsageError("ChimeraX cannot open a file of this name from a script", got=repr(name), cure="rename it")
    return name if _HARMLESS.fullmatch(name) else f'"{name}"'


def _line(text: str) -> str:
    return " ".join(text.split())


def _joined(*lines: str) -> str:
    return "\n".join(lines) + "\n"
