"""Errors say what, got, expected, cure; and they survive the way from a worker."""

from __future__ import annotations

import copy
import pickle

import pytest

from emres import errors
from emres.errors import EmresError, UsageError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EmresError)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("carried", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy])
def test_errors_survive_pickling_with_all_they_say(kind: type[EmresError], carried: object) -> None:
    error = kind("a map is odd", got="5", expected="6", cure="make it even")
    other = carried(error)
    assert type(other) is kind
    assert (other.what, other.got, other.expected, other.cure) == ("a map is odd", "5", "6", "make it even")
    assert str(other) == str(error)
    assert other.exit_code == error.exit_code


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({}, "a map is odd"),
        ({"got": "5"}, "a map is odd: got 5"),
        ({"expected": "6"}, "a map is odd: expected 6"),
        ({"got": "5", "expected": "6"}, "a map is odd: got 5, expected 6"),
        ({"cure": "make it even"}, "a map is odd; make it even"),
        ({"got": "5", "cure": "make it even"}, "a map is odd: got 5; make it even"),
    ],
)
def test_an_error_is_one_sentence(facts: dict[str, str], sentence: str) -> None:
    assert str(EmresError("a map is odd", **facts)) == sentence


def test_only_wrong_calls_exit_with_2() -> None:
    assert {kind for kind in KINDS if kind.exit_code == 2} == {UsageError}
    assert {kind.exit_code for kind in KINDS} == {1, 2}
