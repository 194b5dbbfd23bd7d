"""Dataclasses whose fields know which values they take."""

from __future__ import annotations

import math
from dataclasses import field, fields
from typing import Any

from emres.errors import UsageError


def within(default: Any, low: float, high: float = math.inf) -> Any:
    """Return a field with a default and the range that its value must lie in."""
    return field(default=default, metadata={"range": (low, high)})


def one_of(default: str, choices: tuple[str, ...]) -> Any:
    """Return a field with a default and the words that its value must be one of."""
    return field(default=default, metadata={"choices": choices})


class Checked:
    """A dataclass that refuses values out of their range.

    Raises
    ------
    UsageError
        Naming the group and the field, on making one.
    """

    def __post_init__(self) -> None:
        for item in fields(self):  # type: ignore[arg-type]
            name, value = f"{type(self).__name__.lower()}'s {item.name}", getattr(self, item.name)
            if "choices" in item.metadata and value not in item.metadata["choices"]:
                raise UsageError(f"a {name} is unknown", got=repr(value), expected=", ".join(item.metadata["choices"]))
            if "range" in item.metadata:
                _check_range(name, value, *item.metadata["range"])


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    values = value if isinstance(value, tuple) else () if value is None else (value,)
    if not all(math.isfinite(one) and low <= one <= high for one in values):
        wanted = f"at least {low:g}" if high == math.inf else f"{low:g} to {high:g}"
        raise UsageError(f"a {name} is out of range", got=f"{value}", expected=wanted)
