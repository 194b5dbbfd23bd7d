"""Small atomic models for tests: a ball of carbons, as a PDB file."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

LINE = "ATOM  {serial:5d}  CA {alt}ALA A{residue:4d}    {x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{b:6.2f}           C\n"


def write_model(
    path: Path, *, atoms: int = 300, radius: float = 10.0, seed: int = 1, alternatives: bool = False
) -> Path:
    """Write a ball of atoms; with alternatives, every atom is at two places by halves."""
    rng = np.random.default_rng(seed)
    positions = rng.normal(size=(atoms, 3))
    positions *= (radius * rng.uniform(size=(atoms, 1)) ** (1 / 3)) / np.linalg.norm(positions, axis=1, keepdims=True)
    lines, places = [], "AB" if alternatives else " "
    for number, (x, y, z) in enumerate(positions, start=1):
        for alt in places:
            lines.append(
                LINE.format(
                    serial=number, alt=alt, residue=number, x=x, y=y, z=z + 1.5 * (alt == "B"),
                    occupancy=1 / len(places), b=20 + number % 30,
                )
            )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join([*lines, "END\n"]).encode()
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
    return path


def write_models(folder: Path, *names: str, families: dict[str, str] | None = None) -> Path:
    """Write models of several seeds, and ``models.tsv`` if there are families."""
    for seed, name in enumerate(names, start=1):
        write_model(folder / name, seed=seed)
    if families is not None:
        rows = [f"{name}\tX-RAY\t{family}\n" for name, family in families.items()]
        (folder / "models.tsv").write_text("".join(["file\tmethod\tfamily\n", *rows]), encoding="utf-8")
    return folder
