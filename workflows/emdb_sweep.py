"""From a query to the local resolution of all it finds: fetch, predict, export, and one page that tells of it.

    python workflows/emdb_sweep.py --to sweep --limit 10                             # to see how it goes
    python workflows/emdb_sweep.py --to sweep --list ids.txt --cluster scheduler.json

TO receives ids.txt (what the query found: it is asked once; remove the file to ask again), store/, maps/ (MRC, each
lying on its entry's map), index.html and index.csv. Stop it at any moment: the same command goes on, and does nothing
twice. Entries that fail are told with the reason, stand in the index, and are tried again by the same command. Workers
must see TO, and need no network: only this process fetches. Exit code: 0 all done, 3 some entries failed.

What it takes, measured on the five maps that ship with emres (1.6 million voxels, emres-small@0.2): 6 s of one CPU
core (12 s if busy), 3 MB to download, 11 MB of store, 6 MB of MRC, 0.54 GiB of memory, no GPU. By their voxels 1000
entries of 256^3, 10,700 times as many, take up to 18 hours of one core (1.2 of 16), 32 GB, 118 GB, 67 GB, 0 GPUs.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

import emres

QUERY = 'resolution:[2 TO 6] AND structure_determination_method:"singleparticle"'


def main() -> int:
    """Search, then fetch, predict and export entry by entry, then write the index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, help="for everything that is made")
    parser.add_argument("--query", default=QUERY)
    parser.add_argument("--list", type=Path, help="file with one id a line, in place of a query")
    parser.add_argument("--limit", type=int, help="entries, at most")
    parser.add_argument("--model", default="emres-small", help="or a reference method: fsc, monores, resmap")
    parser.add_argument("--mirror", help="of EMDB; EMRES_MIRROR or the archive itself by default")
    parser.add_argument("--cluster", help="local, gpu, slurm:partition=NAME, tcp://HOST:PORT, … (emres cluster --help)")
    options = parser.parse_args()

    mirror, store, maps = emres.Mirror.at(options.mirror), options.to / "store", options.to / "maps"
    names = ids_in(options.list or asked(options.to / "ids.txt", options.query, mirror))[: options.limit]
    ended: set[str] = set()

    def tell(name: str, stage: str, done: int, total: int) -> None:
        if stage in ("done", "skipped", "failed"):
            ended.add(name)
            print(f"{len(ended)}/{len(names)} {name}: {stage}", flush=True)

    with emres.connect(options.cluster, tasks=len(names)) if options.cluster else nullcontext() as client:
        how = {"model": options.model, "mirror": mirror, "client": client, "report": tell}
        outcomes = emres.batch_predict(names, store, export=maps, **how)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    for outcome in failed:
        print(f"failed: {outcome.name}: {outcome.reason}")
    index = emres.write_index(store, options.to / "index.html", table=options.to / "index.csv", force=True)
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} entries are in {maps}; look at them: {index['output']}")
    return 3 if failed else 0


def asked(path: Path, query: str, mirror: emres.Mirror) -> Path:
    """Keep what a query finds in a file, unless that is there already."""
    if not path.is_file() or path.read_text(encoding="utf-8").partition("\n")[0] != f"# {query}":
        found = emres.search(query, mirror)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".part").write_text("\n".join([f"# {query}", *found, ""]), encoding="utf-8")
        path.with_suffix(".part").replace(path)
    return path


def ids_in(path: Path) -> list[str]:
    """Return the ids in a file, each once; what follows a # is no id."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return list(dict.fromkeys(filter(None, lines)))


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except (emres.EmresError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
