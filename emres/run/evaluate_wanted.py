"""What is wanted of a model, beside what was found: one line each, so that nobody has to search for it in tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from emres.run.evaluate_map import LOCAL_RMS, OWN_MEDIAN
from emres.run.evaluate_model import BLIND, TOLD
from emres.run.evaluate_robust import STRICT, UNCHANGED

# Å, on held-out maps; of the own median's error; Å of degradation; share of voxels within one sigma.
MOST = {"average": 0.40, "map": 0.50}
MOST_OF_OWN_MEDIAN = {"average": 0.75, "map": 1.0}
MOST_DEGRADATION = 0.10
WITHIN = (0.60, 0.76)
# Å, and rank correlation, on real maps.
MOST_ON_REAL, LEAST_RANK_ON_REAL = 0.40, 0.7

_WHICH = {"average": "plain", "map": "as deposited"}


@dataclass(frozen=True)
class Check:
    """One thing that is wanted.

    Parameters
    ----------
    what, wanted : str
    found : float, optional
        None where it could not be measured.
    met : bool, optional
    """

    what: str
    wanted: str
    found: float | None
    met: bool | None

    @classmethod
    def at_most(cls, what: str, limit: float | None, found: float | None, than: str = "") -> Check:
        """Return a check that a number is not above a limit."""
        known = found is not None and limit is not None
        wanted = f"<= {limit:.2f}{than}" if limit is not None else than.strip()
        return cls(what, wanted, found, found <= limit if known else None)  # type: ignore[operator]

    @classmethod
    def at_least(cls, what: str, limit: float | None, found: float | None, than: str = "") -> Check:
        """Return a check that a number is not below a limit."""
        known = found is not None and limit is not None
        wanted = f">= {limit:.2f}{than}" if limit is not None else than.strip()
        return cls(what, wanted, found, found >= limit if known else None)  # type: ignore[operator]


def checks(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is wanted of a model and whether it was found.

    Parameters
    ----------
    evaluation : mapping
        As far as it was measured; see :func:`emres.run.evaluate.evaluate`.

    Returns
    -------
    list of dict
        ``what``, ``wanted``, ``found``, ``met`` (None where it could not be measured).
    """
    some = [*_held_out(evaluation), *_degradation(evaluation), *_robust(evaluation), *_real(evaluation)]
    return [asdict(check) for check in some]


def _held_out(evaluation: Mapping[str, Any]) -> Iterator[Check]:
    for density, found in evaluation["densities"].items():
        own = found["table"][OWN_MEDIAN]["mean"]["mae"]
        wide = found["wide_maps"]
        for name in (BLIND, TOLD):
            if name not in found["table"]:
                continue
            what, mean = f"{_WHICH[density]}, {name}: ", found["table"][name]["mean"]
            share = MOST_OF_OWN_MEDIAN[density]
            yield Check.at_most(f"{what}MAE, Å", MOST[density], mean["mae"])
            yield Check.at_most(f"{what}MAE, Å", share * own, mean["mae"], f" ({share:g} x own median)")
            if name in wide:
                rank, rms = wide[name]["mean"]["spearman"], wide[LOCAL_RMS]["mean"]["spearman"]
                yield Check.at_least(f"{what}Spearman, spread over 1.5 Å", rms, rank, " (minus local rms)")
            if name in found["calibration"]:
                within = found["calibration"][name]["within"]
                low, high = WITHIN
                yield Check(f"{what}share within one sigma", f"{low:.2f} to {high:.2f}", within, low <= within <= high)


def _degradation(evaluation: Mapping[str, Any]) -> Iterator[Check]:
    for name, found in (evaluation["degradation"] or {}).items():
        if name in (BLIND, TOLD):
            yield Check.at_most(f"as deposited against plain, {name}: MAE, Å", MOST_DEGRADATION, found["mean"])


def _robust(evaluation: Mapping[str, Any]) -> Iterator[Check]:
    """Yield the share of changed maps that kept their median, for changes that say nothing of resolution and others."""
    kinds = {"gain, offset, box, turns": True, "crop, sampling, filters, mask": False}
    for name, key in {BLIND: "robustness", TOLD: "robustness_told"}.items():
        table = [row for change, row in evaluation[key].items() if change != UNCHANGED]
        for what, strict in kinds.items():
            some = [row["kept"] for row in table if (row["wanted"] == STRICT) == strict]
            if some:
                kept = "share kept" if strict else "share kept or warned"
                yield Check.at_least(f"{what}, {name}: {kept}", 1.0, sum(some) / len(some))


def _real(evaluation: Mapping[str, Any]) -> Iterator[Check]:
    if not evaluation["real"]:
        return
    found = evaluation["real"]["factors"]["usual"]
    for name in (BLIND, TOLD):
        if found["usual"]["maps"] and name in found["usual"]:
            what, error = f"real maps of 2.5-4.5 Å, {name}: error of the median, Å", found["usual"][name]["error"]
            yield Check.at_most(what, MOST_ON_REAL, error)
            yield Check.at_most(what, found["usual"]["best_constant"], error, " (best constant)")
        if name in found["all"]:
            rank = found["all"][name]["spearman"]
            yield Check.at_least(f"real maps, {name}: Spearman with the reported", LEAST_RANK_ON_REAL, rank)
