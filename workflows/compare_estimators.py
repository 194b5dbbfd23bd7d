"""The local resolution of one entry by several estimators, side by side: windowed FSC, MonoRes, ResMap and the net.

    python workflows/compare_estimators.py EMD-11638 --to comparison
    python workflows/compare_estimators.py EMD-11638 --to comparison --methods fsc fsc-relion monores-half emres-small

TO receives store/, ENTRY_comparison.png (a section and a histogram of each on one scale) and ENTRY_report.html (to
turn; how every two agree). The FSC needs half maps; your own come by emres import MAP --kind half_map_1 --name my_map
--to TO/store. An estimator that fails is told with its reason, the others go on, and the exit code is 3; the same
command goes on where it stopped. What each of them is, and when it lies: docs/estimators.md.

What it takes, measured on half maps of 112^3 voxels with emres-small@0.2: 12 s of one CPU core, 24 MB of disk, 0.65 GiB
of memory, no GPU. By its voxels 256^3 takes 2 minutes, 0.2 GB, 1.3 GB of memory (12 volumes); 400^3 four times that.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import emres


def main() -> int:
    """Estimate by each method, then show what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entry", help="EMDB id, or the name of an entry of TO/store")
    parser.add_argument("--to", type=Path, required=True, help="for everything that is made")
    parser.add_argument("--methods", nargs="+", default=["fsc", "monores", "resmap", "emres-small"])
    parser.add_argument("--mirror", help="of EMDB; EMRES_MIRROR or the archive itself by default")
    options = parser.parse_args()

    store, mirror, found = options.to / "store", emres.Mirror.at(options.mirror), []
    for method in options.methods:
        (outcome,) = emres.batch_predict(options.entry, store, model=method, mirror=mirror)
        facts = outcome.facts
        if outcome.status == "failed":
            print(f"failed: {method}: {outcome.reason}", flush=True)
        else:
            found.append(facts["model"])
            print(f"{facts['model']}: median {facts['median']} Å, 90 % in {facts['p05']} to {facts['p95']} Å")
            print("".join(f"  mind: {warning}\n" for warning in facts.get("warnings", ())), end="", flush=True)
    if found:
        entry = emres.find_entry(emres.Store(store), options.entry)
        draw(entry.path, found, options.to / f"{entry.name}_comparison.png")
        emres.report(entry.path, options.to / f"{entry.name}_report.html", force=True)
        print(f"look at {options.to / entry.name}_comparison.png and _report.html")
    return 3 if len(found) < len(options.methods) else 0


def draw(folder: Path, names: list[str], path: Path) -> None:
    """Draw a section through the map, and through every local resolution above its histogram."""
    entry = emres.open_entry(folder)
    level = next((k for k in range(entry.levels()) if max(entry.grid(level=k).shape) <= 256), 0)  # enough to see
    answers = [emres.open_volume(folder, f"local_resolution/{name}", level).values for name in names]
    known = [np.ma.masked_outside(values, 0.01, 99.99) for values in answers]  # 0: outside the mask, 100: no signal
    low, high = np.percentile(np.concatenate([values.compressed() for values in known]), (2, 98))
    section = int(known[0].count(axis=(1, 2)).argmax())
    figure = Figure(figsize=(2.6 * len(names) + 3.4, 4.6), layout="constrained", dpi=150)
    above, below = figure.subplots(2, len(names) + 1, height_ratios=(5, 2))
    above[0].imshow(emres.open_volume(folder, level=level)[section], cmap="gray_r", origin="lower")
    for axes, bars, name, values in zip(above[1:], below[1:], names, known, strict=True):
        image = axes.imshow(values[section], cmap="turbo", vmin=low, vmax=high, origin="lower")
        bars.hist(values.compressed(), bins=50, range=(low, high))
        bars.set(title=name, xlabel=f"Å, median {np.median(values.compressed()):.2f}", yticks=[])
    for axes in (*above, below[0]):
        axes.set_axis_off()
    figure.colorbar(image, ax=above, label=f"{entry.name}: local resolution (Å)")
    figure.savefig(path)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except (emres.EmresError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
