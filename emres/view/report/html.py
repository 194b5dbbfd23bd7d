"""From what a report carries to its page: templates filled, scripts and styles inside, nothing from outside trusted.

Every value is escaped by the templates, JSON so that no text in it can end its element, and the page's own security
policy lets only the scripts run that were put in here and lets nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emres.view.palette import PALETTES, palette_for
from emres.view.report.data import ReportData, ResultShown, payload, to_json
from emres.view.report.distribution import compared

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"

# Shared by every page; what comes after is of one kind of page.
STYLES = ("shared.css",)
SCRIPTS = ("shared.js",)

_REPORT_STYLES = (*STYLES, "report.css")
_REPORT_SCRIPTS = (
    *SCRIPTS,
    "volumes.js",
    "surface_nets.js",
    "surface_view.js",
    "slices.js",
    "charts.js",
    "compare.js",
    "report.js",
)

_PROGRAMS = {"fsc": "Windowed FSC", "monores": "MonoRes", "resmap": "ResMap"}

# Characters that could end a script element, or a line of a script.
_UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def render(report: ReportData) -> str:
    """Return the page of a report.

    Parameters
    ----------
    report : ReportData

    Returns
    -------
    str
        One HTML document that needs nothing else.
    """
    return page(
        "report.html",
        styles=_REPORT_STYLES,
        scripts=_REPORT_SCRIPTS,
        title=f"{report.name}, local resolution",
        report=report,
        header=header_facts(report),
        rows=[result_row(result) for result in report.results],
        pairs=_pairs(report),
        data=to_json(report),
        volumes=payload(report),
    )


def page(template: str, *, styles: Sequence[str], scripts: Sequence[str], **values: Any) -> str:
    """Fill a template; ``styles`` and ``scripts`` are files beside it that are put inside the page.

    Parameters
    ----------
    template : str
        Extends ``base.html``.
    styles, scripts : sequence of str
        In their order.
    **values
        What the template shows. Strings are escaped; ``value|json`` is JSON that is safe inside a script element.

    Returns
    -------
    str
    """
    from markupsafe import Markup

    css = "\n".join(_text(name) for name in styles)
    parts = [_text(name) for name in scripts]
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(css),
            scripts=[Markup(part) for part in parts],
            style_hash=_hash(css),
            script_hashes=[_hash(part) for part in parts],
            palettes=palettes_json(),
            **values,
        )
    )


def safe_json(value: Any) -> str:
    r"""Return JSON that cannot end the script element it stands in.

    Examples
    --------
    >>> print(safe_json("</script>"))
    "\u003c/script\u003e"
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_UNSAFE)


def palettes_json() -> list[dict[str, Any]]:
    """Return the palettes that a page offers: ``name``, ``colours`` at equal steps from fine to coarse, ``gray``."""
    scales = [palette_for(np.array([1.0, 2.0]), name) for name in PALETTES]
    return [{"name": scale.name, "colours": list(scale.colours), "gray": scale.gray} for scale in scales]


def header_facts(report: ReportData) -> list[tuple[str, str]]:
    """Return what the head of a report says of the map: (what, value with its unit)."""
    entry, grid = report.entry, report.grid
    reported = entry.get("resolution")
    how = entry.get("resolution_method")
    sizes = grid.voxel_size
    alike = max(sizes) - min(sizes) < 1e-3 * max(sizes)
    level = f"{report.contour_level:.4g}, {'the author’s' if report.authors_level else 'found here'}"
    facts = [
        ("Reported resolution", f"{reported:g} Å{f' ({how})' if how else ''}" if reported else "none"),
        ("Experiment", _words(entry.get("method"))),
        ("Symmetry", entry.get("point_group")),
        ("Box", f"{_times(reversed(grid.shape))} voxels"),
        ("Voxel size", f"{sizes[2]:.4g} Å" if alike else f"{_times(f'{s:.4g}' for s in reversed(sizes))} Å (x, y, z)"),
        ("Contour level", level),
        ("Released", entry.get("release_date")),
        ("Models", ", ".join(entry.get("fitted_pdbs") or ())),
    ]
    return [(what, str(value)) for what, value in facts if value]


def result_row(result: ResultShown) -> dict[str, Any]:
    """Return what the table of results says of one: numbers with their units, how it was made."""
    facts, seen = result.facts, result.seen
    known = seen.voxels > 0
    within = seen.voxels + seen.undetermined
    return {
        "name": result.name,
        "what": _made(facts),
        "median": f"{seen.quantile(0.5):.2f} Å" if known else "none",
        "range": f"{seen.quantile(0.05):.2f} to {seen.quantile(0.95):.2f} Å" if known else "",
        "voxels": f"{seen.voxels:,}",
        "undetermined": f"{seen.undetermined / within:.1%}" if within else "",
        "details": _details(facts),
    }


def _made(facts: Mapping[str, Any]) -> str:
    if "file" in facts:
        return f"file {facts['file']}"
    if "method" not in facts:
        return "3D U-Net, from the map"
    source = "half maps" if "half_map_1" in facts.get("maps", ()) else "map"
    return f"{_PROGRAMS.get(facts['method'], facts['method'])}, from the {source}"


def _details(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return version, parameters, provenance: what one needs to make the same again."""
    threshold, window = facts.get("threshold"), facts.get("window")
    told: dict[str, Any] = {
        "model": facts.get("model") if "method" not in facts else None,
        "weights": str(facts.get("weights_sha256", ""))[:12],
        "definition": facts.get("definition"),
        "threshold": f"FSC {threshold:g}" if threshold else None,
        "window": f"{window:.1f} Å" if window else None,
        "mask": facts.get("mask"),
        "at the method's limits": _share(facts.get("capped_share")),
        **{str(name).replace("_", " "): _plain(value) for name, value in (facts.get("parameters") or {}).items()},
        "program": facts.get("program"),
        "date": facts.get("date"),
    }
    return [(what, str(value)) for what, value in told.items() if value not in (None, "")]


def _pairs(report: ReportData) -> list[dict[str, Any]]:
    return [
        {
            "first": report.results[pair.first].name,
            "second": report.results[pair.second].name,
            "spearman": "–" if pair.spearman is None else f"{pair.spearman:.2f}",
            "difference": f"{pair.difference:.2f} Å",
            "shift": f"{pair.shift:+.2f} Å",
            "voxels": f"{pair.voxels:,}",
        }
        for pair in compared(report.samples)
    ]


def _share(value: Any) -> str | None:
    return None if value is None else f"{value:.1%}"


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _times(values: Any) -> str:
    return " × ".join(map(str, values))


def _words(method: str | None) -> str | None:
    """Return EMDB's ``singleParticle`` as words."""
    return "".join(f" {sign.lower()}" if sign.isupper() else sign for sign in method).strip() if method else None


@cache
def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters["json"] = lambda value: Markup(safe_json(value))
    return made
