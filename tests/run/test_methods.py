from __future__ import annotations

import pickle

import pytest

from emres.errors import UsageError
from emres.run.batch import needs_half_maps
from emres.run.methods import ESTIMATORS, is_method, make_recipe


@pytest.mark.parametrize(
    ("words", "result"),
    [
        (("fsc",), "fsc-dense"),
        (("fsc", "relion"), "fsc-relion"),
        (("fsc", "blocres", 0.5), "fsc-blocres@0.5"),
        (("fsc", None, 0.143), "fsc-dense"),
        (("fsc-relion@0.5",), "fsc-relion@0.5"),
        (("monores",), "monores"),
        (("monores-half",), "monores-half"),
        (("resmap",), "resmap"),
    ],
)
def test_words_come_to_one_result_and_its_name_comes_back_to_it(words: tuple, result: str) -> None:
    recipe = make_recipe(*words)
    assert recipe.result == f"local_resolution/{result}"
    assert make_recipe(recipe.name) == recipe
    assert pickle.loads(pickle.dumps(recipe)) == recipe


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: make_recipe("deepres"), "unknown method.*fsc-dense"),
        (lambda: make_recipe("fsc", "cctbx"), "unknown method.*cctbx"),
        (lambda: make_recipe("fsc@half"), "threshold behind @"),
        (lambda: make_recipe("monores", "relion"), "one definition"),
        (lambda: make_recipe("monores", threshold=0.5), "no FSC threshold"),
        (lambda: make_recipe("fsc", threshold=1.5), "between 0 and 1"),
        (lambda: make_recipe("fsc", sampling=30.0), "fsc-dense has no sampling.*window"),
        (lambda: make_recipe("fsc", "blocres", box=20.5), "positive whole number"),
        (lambda: make_recipe("fsc", window=-1.0), "positive number"),
        (lambda: make_recipe("monores", min_resolution=9.0, max_resolution=3.0), "the smaller number"),
    ],
)
def test_words_that_cannot_be_meant_are_refused(call, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call()


def test_settings_that_are_not_given_are_left_to_the_estimator() -> None:
    assert make_recipe("monores", step=None, min_resolution=3.0).settings == {"min_resolution": 3.0}


def test_nets_are_no_methods() -> None:
    assert all(is_method(name) for name in (*ESTIMATORS, "fsc", "fsc-dense@0.5"))
    assert not any(is_method(name) for name in ("emres-small", "./fsc", "/models/monores"))
    assert [word for word in ("fsc", "monores", "monores-half", "resmap", "emres-small") if needs_half_maps(word)] == [
        "fsc", "monores-half",
    ]  # fmt: skip
