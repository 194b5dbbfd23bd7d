"""One option of a cluster, from a file or a command line: the kind of value that it must be."""

from __future__ import annotations

from types import UnionType
from typing import Any, get_args, get_origin

from emres.errors import UsageError


def value_of(hint: Any, value: Any, what: str) -> Any:
    """Return a value as an option wants it; the words of a command line become numbers.

    Parameters
    ----------
    hint : type
        Of the option: int, float, bool, str, a tuple of str, or one of these or None.
    value : Any
        As it was read.
    what : str
        Names the option in errors.

    Raises
    ------
    UsageError
        If it is of another kind, or a number that cannot be meant.

    Examples
    --------
    >>> value_of(int | None, "4", "workers"), value_of(bool, "no", "encrypt"), value_of(tuple[str, ...], "a", "hosts")
    (4, False, ('a',))
    """
    kind = _kind(hint)
    try:
        made = _MAKE[kind](value)
    except (TypeError, ValueError):
        raise UsageError(what, got=repr(value), expected=_WANTED[kind]) from None
    least = 0 if hint is int and what.endswith("gpus") else 1
    if kind is int and made < least:
        raise UsageError(what, got=str(made), expected=f"{least} or more")
    if kind is float and not 0 < made < float("inf"):
        raise UsageError(what, got=str(made), expected="seconds, more than 0")
    return made


def _kind(hint: Any) -> Any:
    if get_origin(hint) is UnionType:
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    return get_origin(hint) or hint


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise TypeError
    return str(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool | float):
        raise TypeError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _truth(value: Any) -> bool:
    words = {"true": True, "yes": True, "false": False, "no": False}
    if isinstance(value, bool):
        return value
    if str(value).lower() not in words:
        raise ValueError
    return words[str(value).lower()]


def _several(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(_text(item) for item in value)


_MAKE: dict[Any, Any] = {int: _whole, float: _number, bool: _truth, str: _text, tuple: _several}
_WANTED = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", tuple: "a list of words"}
