"""Recipes to and from JSON values and TOML files, with each mistake told by its name."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from emres.errors import UsageError
from emres.simulate.recipe import Recipe

Group = TypeVar("Group")


def recipe_from(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe that JSON (or TOML) values describe; what they leave out keeps its default.

    Parameters
    ----------
    values : mapping
        As `Recipe.to_json` gives it. ``like`` may name one of `RECIPES`: its values are then the defaults.

    Returns
    -------
    Recipe

    Raises
    ------
    UsageError
        Naming the key that is unknown, of the wrong type or out of range.

    Examples
    --------
    >>> recipe_from({"seed": 4, "noise": {"power": 1}}).noise.power
    1.0
    >>> recipe_from({"noise": {"colour": 1}})
    Traceback (most recent call last):
    emres.errors.UsageError: a recipe has no noise.colour: expected one of power, anisotropy
    """
    if not isinstance(values, Mapping):
        raise UsageError("a recipe is not a table", got=type(values).__name__, expected="keys and values")
    rest = dict(values)
    start = _named(rest.pop("like")) if "like" in rest else Recipe()
    return _filled(start, rest, "")


def read_recipe(path: Path | str) -> Recipe:
    """Read a recipe from a TOML or JSON file.

    Raises
    ------
    UsageError
        If the file is missing, is neither, or describes no recipe.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path} cannot be read ({error})", cure="give a TOML or JSON file") from error
    try:
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise UsageError(f"recipe {path} is no {path.suffix.lstrip('.') or 'toml'} file ({error})") from error
    return recipe_from(values)


def find_recipe(name: str | Path) -> Recipe:
    """Return a recipe by its name or from its file.

    Raises
    ------
    UsageError
        If there is no such name or file.
    """
    return read_recipe(name) if Path(name).suffix in (".toml", ".json") else _named(str(name))


def _named(name: Any) -> Recipe:
    from emres.simulate.recipes import RECIPES

    if name not in RECIPES:
        raise UsageError(
            "there is no such recipe", got=repr(name), expected=f"one of {', '.join(RECIPES)}, or a .toml or .json file"
        )
    return RECIPES[name]


def _filled(start: Group, values: Mapping[str, Any], path: str) -> Group:
    """Return a (group of a) recipe with some of its values replaced."""
    hints = get_type_hints(type(start))
    known = [item.name for item in fields(start)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise UsageError(f"a recipe has no {path}{key}", expected=f"one of {', '.join(known)}")
    given = {key: _typed(hints[key], getattr(start, key), value, path + key) for key, value in values.items()}
    return replace(start, **given)  # type: ignore[type-var]


def _typed(wanted: Any, default: Any, value: Any, path: str) -> Any:
    """Return a value as the type that a field is of."""
    if is_dataclass(wanted):
        if not isinstance(value, Mapping):
            raise _wrong(path, value, "a table")
        return _filled(default, value, f"{path}.")
    if get_origin(wanted) is UnionType:
        return None if value is None else _typed(get_args(wanted)[0], default, value, path)
    if get_origin(wanted) is tuple:
        kinds = get_args(wanted)
        if not isinstance(value, (list, tuple)) or len(value) != len(kinds):
            raise _wrong(path, value, f"a list of {len(kinds)} numbers")
        return tuple(_typed(kind, MISSING, one, path) for kind, one in zip(kinds, value, strict=True))
    return _scalar(wanted, value, path)


def _scalar(wanted: type, value: Any, path: str) -> Any:
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not wanted:
        words = {float: "a number", int: "a whole number", bool: "true or false", str: "a word"}
        raise _wrong(path, value, words[wanted])
    return value


def _wrong(path: str, value: Any, expected: str) -> UsageError:
    return UsageError(f"a recipe's {path} is of the wrong type", got=repr(value), expected=expected)
