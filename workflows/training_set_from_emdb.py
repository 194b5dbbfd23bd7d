"""A training set from the archive: half maps of single particles at 2-6 Å, their dense local FSC, split for training.

    python workflows/training_set_from_emdb.py --to set                              # on this machine
    python workflows/training_set_from_emdb.py --to set --cluster tcp://10.0.0.5:8786
    python workflows/training_set_from_emdb.py --to set --limit 10                   # to see how it goes

It can be stopped and started again at any moment: what is fetched is not fetched again, what is computed is not
computed again. Entries that cannot be used are left out, and the data set says why. A cluster's workers must see the
folder that ``--to`` names.

What it takes, measured on one simulated entry of 256^3 voxels: 0.18 GB to download, 0.19 GB on disk, 39 s of one CPU
core (27 s of them the dense FSC), 1.2 GB of memory, no GPU. All of it grows with the voxels: 400^3 is four times as
much. So 1000 entries of 256^3 are 180 GB to download, 190 GB on disk, 650 minutes of one core (40 of 16), 0 GPUs.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

import emres

QUERY = 'resolution:[2 TO 6] AND structure_determination_method:"singleparticle" AND half_map_filename:[* TO *]'


def main() -> int:
    """Search, fetch, estimate, split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, help="the data set")
    parser.add_argument("--query", default=QUERY)
    parser.add_argument("--limit", type=int, help="entries, at most")
    parser.add_argument("--mirror", help="of EMDB; EMRES_MIRROR or the archive itself by default")
    parser.add_argument("--cluster", help="local, local:WORKERS, tcp://HOST:PORT or a scheduler file")
    options = parser.parse_args()

    mirror = emres.Mirror.at(options.mirror)
    entries = emres.search(options.query, mirror, limit=options.limit)
    count = len(entries)
    print(
        f"{count} entries: {0.18 * count:.1f} GB and {0.65 * count:.0f} minutes of a core, if all were of 256^3 voxels"
    )
    with emres.connect(options.cluster, tasks=count) if options.cluster else nullcontext() as client:
        dataset = emres.build_dataset(options.to, entries, targets="fsc", mirror=mirror, client=client)
    for name, reasons in dataset.made["left_out"].items():
        print(f"left out: {name}: {'; '.join(reasons.values())}")
    sides = {split: len(dataset.side(split)) for split in ("train", "validation", "test")}
    print(f"{options.to}: {sides}; look at it: emres dataset info {options.to}")
    return 0 if dataset.rows else 1


if __name__ == "__main__":
    raise SystemExit(main())
