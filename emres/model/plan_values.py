"""Plain values, as they stand in a TOML file or a command line, become a plan of a training; odd ones are refused."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from emres.errors import UsageError
from emres.model.augment import Augmentation
from emres.model.train_plan import TrainPlan

_WHOLE = [field.name for field in fields(TrainPlan) if field.type == "int | None"]  # numbers whose default is none


def plan_from(values: Mapping[str, Any], source: str = "the plan", base: TrainPlan | None = None) -> TrainPlan:
    """Make a plan of plain values, as they stand in a TOML file.

    Parameters
    ----------
    values : mapping
        Field -> value; ``augmentation`` and ``arguments`` are mappings themselves.
    source : str
        For errors.
    base : TrainPlan, optional
        What stands where nothing is said.

    Returns
    -------
    TrainPlan

    Raises
    ------
    UsageError
        If a name is not known, or a value of another kind.

    Examples
    --------
    >>> plan_from({"stepz": 10})
    Traceback (most recent call last):
    emres.errors.UsageError: the plan has an unknown setting: got stepz; did you mean steps?
    """
    plan = base or TrainPlan()
    known = asdict(TrainPlan())
    changed: dict[str, Any] = {}
    for name, value in values.items():
        check_known(name, known, source)
        if name == "augmentation":
            changed[name] = _augmentation(value, source, plan.kind.augmentation)
        elif name == "arguments":
            _expect(isinstance(value, Mapping) and all(type(n) is int for n in value.values()), name, value, source)
            changed[name] = {**plan.arguments, **value}
        else:
            changed[name] = _like(known[name], name, value, source)
    return replace(plan, **changed)


def check_known(name: str, known: Mapping[str, Any], source: str) -> None:
    """Refuse a name that is not known.

    Raises
    ------
    UsageError
        With the nearest name that is.
    """
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    cure = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    raise UsageError(f"{source} has an unknown setting", got=name, cure=cure)


def _augmentation(value: Any, source: str, base: Augmentation) -> Augmentation:
    _expect(isinstance(value, Mapping), "augmentation", value, source)
    known = asdict(base)
    changed = {}
    for name, one in value.items():
        check_known(name, known, f"{source}, augmentation,")
        changed[name] = _like(known[name], f"augmentation.{name}", one, source)
    return replace(base, **changed)


def _like(default: Any, name: str, value: Any, source: str) -> Any:
    """Return a value as the kind of thing that its default is."""
    if isinstance(default, bool):
        _expect(isinstance(value, bool), name, value, source, "true or false")
    elif isinstance(default, str):
        _expect(isinstance(value, str), name, value, source, "a text in quotes")
    elif isinstance(default, tuple):
        pair = isinstance(value, list | tuple) and len(value) == 2 and all(_number(one) for one in value)
        _expect(pair, name, value, source, "two numbers in brackets")
        return (float(value[0]), float(value[1]))
    elif isinstance(default, int) or name in _WHOLE:
        _expect(type(value) is int, name, value, source, "a whole number")
    else:
        _expect(_number(value), name, value, source, "a number")
        return float(value)
    return value


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _expect(right: bool, name: str, value: Any, source: str, expected: str = "names and whole numbers") -> None:
    if not right:
        raise UsageError(f"{source} has a wrong {name}", got=repr(value), expected=expected)
