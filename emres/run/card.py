"""A model's card: what its contract says, and what was measured. Whatever is a number there was taken from one of them.

So the card of a bundle is written by ``emres evaluate MODEL … --card card.md``, and none of it is typed by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from emres.archive.disk import replaced_file
from emres.model.contract import CONTRACT_FILE, Contract, read_contract
from emres.model.evaluate import markdown_table
from emres.run.evaluate_report import failed, held_out, real_maps, references, robustness, wanted

_LONG = 60  # items of a list that are told one by one
_SKIPPED = ("held_out", "real_maps", "about", "limits")


def write_card(path: Path, contract: Contract, evaluation: Mapping[str, Any]) -> Path:
    """Write a model's card.

    Parameters
    ----------
    path : Path
        Replaced if it is there.
    contract : Contract
        ``training`` tells where the weights come from: any JSON values; ``about`` and ``limits`` in it are text.
    evaluation : mapping
        From :func:`emres.run.evaluate.evaluate`.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    with replaced_file(path) as part:
        part.write_text(card(contract, evaluation), encoding="utf-8")
    return path


def note_for_card(model: Path, notes: Mapping[str, Any]) -> None:
    """Note in a bundle's contract, under ``training``, what its card is to say: any JSON values.

    Raises
    ------
    ModelError
        If it is no bundle.
    StoreError
        If it cannot be written.
    """
    contract = read_contract(model)
    with replaced_file(model / CONTRACT_FILE) as part:
        part.write_text(replace(contract, training={**contract.training, **notes}).to_json(), encoding="utf-8")


def card(contract: Contract, evaluation: Mapping[str, Any]) -> str:
    """Return a model's card as Markdown; see :func:`write_card`."""
    training = {key: value for key, value in contract.training.items() if key not in _SKIPPED}
    parts = [f"# {contract.name_version}", str(contract.training.get("about", "")), what_it_is(contract)]
    parts += ["## Training", told(training)] if training else []
    sections = {
        "Wanted and found": wanted(evaluation),
        "Held-out maps": held_out(evaluation).replace("\n## ", "\n### "),
        "Robustness": robustness(evaluation),
        "Other programs": references(evaluation),
        "Real maps": real_maps(evaluation),
        "Where it fails": where_it_fails(contract, evaluation),
        "What could not be measured": failed(evaluation),
    }
    for title, text in sections.items():
        parts += [f"## {title}", text] if text else []
    parts.append(f"Measured by {evaluation['program']}, weights sha256 {evaluation['model']['weights_sha256']}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def what_it_is(contract: Contract) -> str:
    """Return what a contract says of input, output and geometry."""
    low, high = contract.valid_range
    arguments = ", ".join(f"{name} {value}" for name, value in contract.arguments.items())
    size = "the map's own" if contract.cube else f"{contract.voxel_size:g} Å and coarser"
    lines = {
        "Input": f"density on a grid of {size} voxels; {contract.normalisation}",
        "Output": f"local resolution, {contract.output}, from {low:g} to {high:g} voxels of that grid",
        "Net": f"{contract.architecture}: {arguments or 'no arguments'}; halo of {contract.halo} voxels, multiple of "
        f"{contract.multiple}",
    }
    return "\n".join(f"* {name}: {text}" for name, text in lines.items())


def told(values: Mapping[str, Any], depth: int = 0) -> str:
    """Return JSON values as nested points; a table of numbers becomes a table.

    Examples
    --------
    >>> print(told({"seed": 3, "plan": {"steps": 100, "rates": [0.1, 0.2]}}))
    * seed: 3
    * plan:
      * steps: 100
      * rates: 0.1, 0.2
    """
    lines, tables = [], []
    for key, value in values.items():
        if _is_table(value) and not depth:
            columns = list(dict.fromkeys(name for row in value.values() for name in row))
            tables.append(f"{key}:\n\n{markdown_table(value, columns)}")
        elif isinstance(value, Mapping) and value:
            lines += [f"{'  ' * depth}* {key}:", told(value, depth + 1)]
        else:
            lines.append(f"{'  ' * depth}* {key}: {_word(value)}")
    return "\n\n".join(["\n".join(lines), *tables]).strip("\n")


def _is_table(value: Any) -> bool:
    """Tell whether a value is rows of numbers by name, two at least."""
    if not isinstance(value, Mapping) or len(value) < 2:
        return False
    return all(
        isinstance(row, Mapping) and row and all(isinstance(v, int | float | None) for v in row.values())
        for row in value.values()
    )


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_word(one)}" for key, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) > _LONG and all(isinstance(one, int | float) for one in value):
            return f"{len(value)} values, from {_word(value[0])} to {_word(value[-1])}"
        return ", ".join(_word(one) for one in value)
    return str(value)


def where_it_fails(contract: Contract, evaluation: Mapping[str, Any]) -> str:
    """Return the groups of maps in which a model does worse than a constant, and the real maps that it misses."""
    lines = []
    for density, found in evaluation["densities"].items():
        for kind, words in (("resolutions", "median target {} Å"), ("voxel_sizes", "voxels of {} Å")):
            worse = [
                f"{words.format(name)} ({row['mae']:.2f} against {row['mae_own_median']:.2f} Å, {row['maps']} maps)"
                for name, row in found[kind].items()
                if row["mae"] > row["mae_own_median"]
            ]
            lines += [f"* worse than each map's own median, {density}: {'; '.join(worse)}"] if worse else []
    if evaluation["real"]:
        worst = evaluation["real"]["factors"]["usual"]["worst"]
        off = ", ".join(f"{file} {error:+.1f} Å" for file, error in worst.items())
        lines += [f"* real maps whose median is off by more than 1 Å, blind: {off}"] if off else []
    return "\n\n".join(part for part in ("\n".join(lines), str(contract.training.get("limits", ""))) if part)
