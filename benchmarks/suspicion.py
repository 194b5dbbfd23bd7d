"""How often input that makes a one-map method lie is noticed, and how often other input is suspected.

``python -m benchmarks.suspicion`` prints the tables of docs/estimators.md. Simulated maps: atomic models that no
threshold was chosen on, recipes drawn from the models' names, their average treated each way in turn. Real maps: those
beside the checkout. The last columns say how far the treatment moves the answer: the lie itself.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emres.archive.mrc import read_mrc
from emres.errors import EmresError
from emres.estimators.monores import monores
from emres.estimators.resmap import resmap
from emres.estimators.suspicion import suspect
from emres.simulate.atoms import read_atoms
from emres.simulate.deposit import deposit
from emres.simulate.halfmaps import HalfMaps, simulate_half_maps
from emres.simulate.recipe import Processing, Recipe
from emres.simulate.recipes import draw_recipe
from emres.volume.grid import grid_of

Array = np.ndarray[Any, Any]

SHARED = Path(__file__).parents[1] / "../shared/data"
FINDINGS = ("masked", "low-passed", "sharpened")
_LARGEST = 60_000  # bytes of a model's file: what is simulated in seconds
_BOX = 72  # voxels
_LOOKED_AT = 24  # of every second model, and all of the others
_MOST = 2000.0  # Å^2: sharpening that a recipe allows
_BELOW_NYQUIST = 2.5  # voxels: a cut finer than this leaves next to nothing out


def treatments(recipe: Recipe) -> Mapping[str, Processing]:
    """Return what is done to the average of the half maps, by name."""
    b_factor, resolution = min(recipe.envelope.b_factor, _MOST), recipe.resolution
    found = {
        "none": Processing(),
        "zero outside the particle's sphere": Processing(mask="sphere"),
        "mask, hard edge": Processing(mask="molecule", mask_edge=0.0),
        "mask, 4 Å edge": Processing(mask="molecule", mask_edge=4.0),
        "mask, 10 Å edge": Processing(mask="molecule", mask_edge=10.0),
        "low-pass at the resolution": Processing(low_pass=resolution),
        "low-pass at 1.5 resolutions": Processing(low_pass=1.5 * resolution),
        "FSC weights": Processing(fsc_weighting=True),
        "sharpened by half its B factor": Processing(sharpening=-b_factor / 2),
        "sharpened by its B factor": Processing(sharpening=-b_factor),
        "FSC weights, sharpened": Processing(fsc_weighting=True, sharpening=-b_factor),
        "FSC weights, sharpened, masked": Processing(fsc_weighting=True, sharpening=-b_factor, mask="molecule"),
    }
    finest = _BELOW_NYQUIST * recipe.voxel_size
    return {
        name: how
        for name, how in found.items()
        if (how.low_pass == 0 or how.low_pass >= finest) and (not how.fsc_weighting or resolution >= finest)
    }


def simulated(path: Path) -> HalfMaps:
    """Return half maps of a model: one copy, not in a sphere, all else drawn from the model's name."""
    atoms = read_atoms(path)
    seed = int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:4], "big")
    recipe = draw_recipe(seed, extent=atoms.extent, box=_BOX)
    framing = replace(recipe.framing, sphere=False)
    return simulate_half_maps(atoms, replace(recipe, symmetry="C1", crowd=1, framing=framing))


def seen_in(halves: HalfMaps, answers: bool = True) -> Iterator[tuple[str, dict[str, float]]]:
    """Give what is found in the map after each treatment, and what one-map methods then answer (Å, NaN: nothing)."""
    for name, how in treatments(halves.recipe).items():
        density, grid = deposit(halves, how)
        seen = findings(density, grid.voxel_size)
        if answers:
            for method in (monores, resmap):
                seen[method.__name__] = _median(method, density, grid.voxel_size, halves.mask)
        yield name, seen


def findings(density: Array, voxel_size: Any) -> dict[str, float]:
    """Return 1 for each finding that is said of a map, 0 for the others."""
    said = " ".join(suspect(density, voxel_size).sentences)
    return {finding: float(f"looks {finding}" in said) for finding in FINDINGS}


def table(paths: list[Path]) -> list[str]:
    """Return the rates over simulated maps, as the lines of a table."""
    seen: dict[str, list[dict[str, float]]] = {}
    for path in paths:
        of_this = dict(seen_in(simulated(path)))
        for name, found in of_this.items():
            for method in ("monores", "resmap"):
                found[f"{method} moved"] = found[method] - of_this["none"][method]
            seen.setdefault(name, []).append(found)
    head = ["treatment", "maps", *(f"said {finding}" for finding in FINDINGS), "MonoRes", "ResMap"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, maps in seen.items():
        rates = [f"{np.mean([one[finding] for one in maps]):.0%}" for finding in FINDINGS]
        moves = [_told([one[f"{method} moved"] for one in maps]) for method in ("monores", "resmap")]
        lines.append(f"| {' | '.join([name, str(len(maps)), *rates, *moves])} |")
    return lines


def real_table() -> list[str]:
    """Return what is said of each real map, as the lines of a table."""
    lines = ["| map | said |", "|---|---|"]
    for path in sorted((SHARED / "maps").glob("*.map.gz")):
        volume = read_mrc(path)
        if volume.size < 2**25:
            seen = findings(np.asarray(volume.values, np.float32), grid_of(volume).voxel_size)
            lines.append(f"| {path.name.removesuffix('.map.gz')} | {', '.join(n for n, hit in seen.items() if hit)} |")
    return lines


def models(count: int) -> list[Path]:
    """Return models that are simulated in seconds; thresholds were looked at on those that are left out."""
    small = [path for path in (SHARED / "models").glob("*.cif.gz") if path.stat().st_size < _LARGEST]
    return sorted(small)[1::2][_LOOKED_AT:][:count]


def _median(method: Any, density: Array, voxel_size: Any, mask: Array) -> float:
    try:
        values = method(density, voxel_size, mask).resolution[mask]
    except EmresError:
        return float("nan")
    resolved = values[(values > 0) & (values < 100)]
    return float(np.median(resolved)) if len(resolved) > values.size / 10 else float("nan")


def _told(moves: list[float]) -> str:
    known = [move for move in moves if np.isfinite(move)]
    silent = len(moves) - len(known)
    told = f"{np.median(known):+.1f} Å" if known else ""
    return ", ".join(part for part in (told, f"{silent} silent" if silent else "") if part)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=32)
    print(*table(models(parser.parse_args().models)), "", *real_table(), sep="\n")


if __name__ == "__main__":
    main()
