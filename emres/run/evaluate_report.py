"""An evaluation as people read it: Markdown and pictures, made from ``evaluation.json`` alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emres.archive.disk import disk_errors, replaced_file
from emres.model.evaluate import markdown_table
from emres.run.evaluate_model import BLIND, TOLD

MARKDOWN = "evaluation.md"
TITLES = {"average": "Plain averages of the half maps", "map": "Maps as deposited"}

_COLUMNS = {
    "MAE": ("mean", "mae"),
    "median MAE": ("median", "mae"),
    "RMSE": ("mean", "rmse"),
    "Spearman": ("mean", "spearman"),
    "of medians": ("mean", "median_error"),
    "pattern": ("mean", "pattern"),
    "within 0.5 Å": ("mean", "within_half"),
    "within 1 Å": ("mean", "within_one"),
}
_GROUPS = {"resolutions": "median target, Å", "voxel_sizes": "voxel size, Å", "families": "family"}
_GROUP_COLUMNS = {"maps": "maps", "mae": "MAE", "mae_told": "MAE, told", "spearman": "Spearman", "shift": "shift",
                  "mae_own_median": "MAE of own median", "within": "within what is wanted", "kept": "that, or warned",
                  "within_told": "within, told", "kept_told": "that, or warned, told"}  # fmt: skip

_DEFINED = """\
Å, over the voxels where the target is finite and not at its clip value and the model answers; per map first, then over
maps, never pooled. MAE: mean absolute error; of medians: |median(prediction) - median(target)|; pattern: MAE once the
two medians are made equal; shift: above 0 the prediction is too coarse."""


def write_report(evaluation: Mapping[str, Any], folder: Path) -> None:
    """Write ``evaluation.md`` and its pictures into a folder.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    with disk_errors(folder):
        pictures = _pictures(evaluation, folder)
    with replaced_file(folder / MARKDOWN) as part:
        part.write_text(markdown(evaluation, pictures), encoding="utf-8")


def _pictures(evaluation: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Draw what there is to draw; return file names by part."""
    from emres.view.agreement import agreement_picture, calibration_picture, real_maps_picture

    name, drawn = evaluation["model"]["model"], {}
    for density, found in evaluation["densities"].items():
        histogram, title = found["histogram"], f"{name}: {TITLES[density].lower()}, {_maps(found['maps'])}"
        path = agreement_picture(histogram["cells"], histogram["step"], folder / f"scatter_{density}.png", title=title)
        drawn[density] = path.name
        if calibrated := found["calibration"].get(BLIND):
            path = calibration_picture(calibrated, folder / f"calibration_{density}.png", title=title)
            drawn[f"calibration {density}"] = path.name
    if evaluation["real"]:
        factor = evaluation["real"]["factors"]["usual"]["factor"]
        path = real_maps_picture(evaluation["real"]["maps"], factor, folder / "real_maps.png", title=name)
        drawn["real"] = path.name
    return drawn


def markdown(evaluation: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """Return an evaluation as Markdown.

    Parameters
    ----------
    evaluation : mapping
        From :func:`emres.run.evaluate.evaluate`.
    pictures : mapping
        Part -> file name.
    """
    parts = [f"# How well {evaluation['model']['model']} does", _made_by(evaluation), wanted(evaluation)]
    parts.append(held_out(evaluation, pictures))
    sections = {"Robustness": robustness, "Other programs": references, "Real maps": real_maps, "What failed": failed}
    for title, section in sections.items():
        if text := section(evaluation):
            parts += [f"## {title}", text]
    if "real" in pictures:
        parts.append(f"![medians of real maps]({pictures['real']})")
    return "\n\n".join(part for part in parts if part) + "\n"


def _maps(count: int) -> str:
    return "1 map" if count == 1 else f"{count} maps"


def _made_by(evaluation: Mapping[str, Any]) -> str:
    digest = evaluation["model"]["weights_sha256"][:16]
    return f"Written by `emres evaluate` of {evaluation['program']}; weights sha256 {digest}…"


def wanted(evaluation: Mapping[str, Any]) -> str:
    """Return the table of what is wanted of a model beside what was found; empty where nothing was measured."""
    lines = ["| wanted | | found | |", "|---|---|---|---|"]
    words = {True: "met", False: "missed", None: "not measured"}
    for check in evaluation["checks"]:
        found = _or_dash(check["found"])
        lines.append(f"| {check['what']} | {check['wanted']} | {found} | {words[check['met']]} |")
    return "\n".join(lines) if evaluation["checks"] else ""


def held_out(evaluation: Mapping[str, Any], pictures: Mapping[str, str] | None = None) -> str:
    """Return the sections on the maps of the data set; empty without one."""
    about = evaluation["dataset"]
    if not about:
        return ""
    parts = [
        f"Data set `{about['name']}`, side `{about['split']}`: {about['entries']} entries of {about['families']} "
        f"families; target `{about['target']}`; mask: {about['mask']}. " + _DEFINED
    ]
    for density, found in evaluation["densities"].items():
        parts += [f"## {TITLES[density]}", *_density(found)]
        for part in (density, f"calibration {density}"):
            if pictures and part in pictures:
                parts.append(f"![{part}]({pictures[part]})")
    return "\n\n".join([*parts, *_across(evaluation)])


def _density(found: Mapping[str, Any]) -> list[str]:
    table = {name: {"maps": row["maps"], **_columns(row)} for name, row in found["table"].items()}
    covered = f"{_maps(found['maps'])}; the model answers in {100 * found['covered']:.1f} % of the target's voxels."
    if found["warned"]:
        covered += f" It warns of {found['warned']} of them."
    parts = [covered, markdown_table(table, ["maps", *_COLUMNS]), verdict(found["verdicts"])]
    for key, heading in _GROUPS.items():
        if len(found[key]) > 1:
            parts.append(_group_table(found[key], heading))
    parts += [calibration_sentence(name, one) for name, one in found["calibration"].items()]
    return [part for part in parts if part]


def _columns(row: Mapping[str, Any]) -> dict[str, Any]:
    return {column: row[statistic][key] for column, (statistic, key) in _COLUMNS.items()}


def _group_table(groups: Mapping[str, Mapping[str, Any]], heading: str) -> str:
    columns = {key: name for key, name in _GROUP_COLUMNS.items() if any(key in row for row in groups.values())}
    rows = {group: {columns[key]: row.get(key) for key in columns} for group, row in groups.items()}
    return markdown_table(rows, list(columns.values())).replace("|  |", f"| {heading} |", 1)


def verdict(found: Mapping[str, Any]) -> str:
    """Return in a sentence or two what the numbers say about the model.

    Examples
    --------
    >>> verdict({"over_own_median": 1.2, "wide_maps": 0})
    "The model's error is 1.20 times that of each map's own median as a constant, which beats it."
    """
    said = []
    if found.get("over_own_median") is not None:
        ratio = found["over_own_median"]
        beaten = ", which beats it" if ratio > 1 else ""
        said.append(f"The model's error is {ratio:.2f} times that of each map's own median as a constant{beaten}.")
    if found.get("wide_maps") and found["wide_spearman"] is not None:
        than = "better" if found["wide_spearman"] > (found["wide_spearman_of_rms"] or 0) else "worse"
        said.append(
            f"In {_maps(found['wide_maps'])} with a spread over 1.5 Å it ranks voxels {than} (Spearman "
            f"{found['wide_spearman']:.2f}) than minus the local rms does ({found['wide_spearman_of_rms'] or 0:.2f})."
        )
    return " ".join(said)


def calibration_sentence(name: str, found: Mapping[str, Any]) -> str:
    """Return what is to be said of the uncertainty of a prediction."""
    shares = ", ".join(f"{share:.2f}" for share in found["share"])
    return (
        f"Uncertainty, {name}: {100 * found['within']:.0f} % of the voxels lie within one sigma (68 % would be right); "
        f"by tenth, from the surest on: {shares}."
    )


def _across(evaluation: Mapping[str, Any]) -> list[str]:
    """Return what lies between the sections: degradation, noise floor, what is missing."""
    parts = []
    if found := evaluation["degradation"]:
        more = "; ".join(
            f"{name}: {found[name]['mean']:+.2f} Å on average, median {found[name]['median']:+.2f} Å, at worst "
            f"{found[name]['worst']:+.2f} Å"
            for name in (BLIND, TOLD)
            if name in found
        )
        parts.append(f"As deposited against plain, {_maps(found['maps'])}, difference of MAE: {more}.")
    for found in evaluation["noise_floor"].values():
        mean = found["mean"]
        parts.append(
            f"Noise floor: the target of the same simulation with other noise differs by {mean['mae']:.2f} Å "
            f"(MAE, mean over {_maps(found['maps'])}; Spearman {mean['spearman']:.2f})."
        )
    notes = [f"* {sentence} ({count} entries)" for sentence, count in evaluation["notes"].items()]
    return [*parts, *(["\n".join(["Not to be had:", "", *notes])] if notes else [])]


def robustness(evaluation: Mapping[str, Any]) -> str:
    """Return the table of changed maps; empty where none was measured."""
    table = evaluation["robustness"]
    if not table:
        return ""
    told = evaluation["robustness_told"]
    rows = {name: {**_changed(row), **_changed(told[name], ", told")} if told else _changed(row)
            for name, row in table.items()}  # fmt: skip
    said = "Changed maps against the map itself, over the voxels that both answer; kept: share of maps whose median "
    said += "moved by no more than is wanted, or that were warned of where the change is one that depositors make."
    parts = [said, markdown_table(rows, list(next(iter(rows.values()))))]
    if len(groups := evaluation["robustness_by_resolution"]) > 1:
        parts.append(_group_table(groups, "resolution, Å; changes that depositors make"))
    return "\n\n".join(parts)


def _changed(row: Mapping[str, Any], how: str = "") -> dict[str, Any]:
    """Return the columns of one change."""
    about = {} if how else {"maps": row["maps"], "wanted": row["wanted"]}
    return {**about, f"largest shift of the median, Å{how}": _fine(row["worst"]),
            f"mean difference, Å{how}": row["difference"], f"warned{how}": row["warned"],
            f"kept{how}": row["kept"]}  # fmt: skip


def references(evaluation: Mapping[str, Any]) -> str:
    """Return the table of other programs; empty where there are none."""
    table = evaluation["references"]
    if not table:
        return ""
    rows = {
        name: {"objects": row["objects"], "MAE": row["mae"], "Spearman": row["spearman"], "shift": row["shift"],
               "answered": row["answered"]}
        for name, row in table.items()
    }  # fmt: skip
    said = "Simulated half maps with the outputs of other programs, against the dense FSC of the halves; each over the "
    said += "voxels that it answers, the model and emres' own methods on the plain average in the objects' masks. "
    said += "Programs that read the half maps know more than the model."
    return f"{said}\n\n{markdown_table(rows, list(next(iter(rows.values()))))}"


def _fine(value: float | None) -> str:
    """Write a shift so that 0.052 is seen to be more than 0.05."""
    return "-" if value is None else f"{round(value, 3) + 0.0:.3f}"


def real_maps(evaluation: Mapping[str, Any]) -> str:
    """Return the section on real maps; empty where there are none."""
    found = evaluation["real"]
    if not found:
        return ""
    told = evaluation["told"]
    head = (
        "| entry | file | voxel size | reported | median, blind |" + (" median, told |" if told else "") + " warned |"
    )
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    for one in found["maps"]:
        medians = " | ".join(f"{value:.2f}" for value in one["medians"].values())
        warned = "yes" if one["warnings"] else ""
        cells = [one["emdb_id"], one["file"], f"{one['voxel_size']:.2f}", f"{one['reported']:g}", medians, warned]
        lines.append(f"| {' | '.join(cells)} |")
    said = [real_sentences(summary) for summary in found["factors"].values()]
    left_out = "; ".join(f"{file} ({why})" for file, why in found["left_out"].items())
    said += [f"Left out: {left_out}."] if left_out else []
    return "\n\n".join(["Only the map is given, in the mask that is found on it. Å.", "\n".join(lines), *said])


def real_sentences(summary: Mapping[str, Any]) -> str:
    """Return what medians are off by, against a multiple of the reported resolution, beside constants."""
    said = []
    for key, which in (("all", "all maps"), ("usual", "reported 2.5-4.5 Å"), ("unwarned", "not warned of, blind")):
        found = summary[key]
        if not found["maps"]:
            continue
        models = "; ".join(
            f"{name} {found[name]['error']:.2f} Å (bias {found[name]['bias']:+.2f} Å, Spearman "
            f"{_or_dash(found[name]['spearman'])})"
            for name in (BLIND, TOLD)
            if name in found
        )
        said.append(
            f"* {which} ({found['maps']}): {models}; best constant, chosen on these very maps, "
            f"{found['best_constant']:.2f} Å; best multiple of the voxel size {found['best_multiple']:.2f} Å (Spearman "
            f"of the voxel size {_or_dash(found['spearman_of_voxel_size'])})"
        )
    off = ", ".join(f"{file} {error:+.1f}" for file, error in summary["worst"].items())
    said += [f"* off by more than 1 Å, blind: {off}"] if off else []
    return "\n".join([f"Mean |median - {summary['factor']:.2f} x reported|:", "", *said])


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def failed(evaluation: Mapping[str, Any]) -> str:
    """Return what could not be measured, and why."""
    return "\n".join(f"* {what}: {why}" for what, why in evaluation["failed"].items())
