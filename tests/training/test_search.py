import json

import pytest

from loopwright.core.errors import DeclarationError
from loopwright.training.search import Search, choice, integer, search, uniform


def test_a_search_survives_json() -> None:
    declared = search(
        trials=7,
        timeout="10m",
        sampler="random",
        validation=0.3,
        a=uniform(0.1, 1, log=True),
        b=integer(1, 5),
        c=choice([1, "x", None]),
    )
    assert Search.from_json(json.loads(json.dumps(declared.to_json()))) == declared
    assert declared.timeout_s == 600.0


def test_a_name_of_an_argument_can_be_searched() -> None:
    assert search(space={"validation": choice([1, 2])}).space[0][0] == "validation"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (search, "at least one parameter"),
        (lambda: search(a=3), "no distribution"),
        (lambda: search(trials=0, a=integer(1, 2)), "at least one trial"),
        (lambda: search(validation=1.0, a=integer(1, 2)), "between 0 and 1"),
        (lambda: search(sampler="grid", a=integer(1, 2)), "no sampler 'grid'"),
        (lambda: uniform(1, 1), "low < high"),
        (lambda: uniform(0, 1, log=True), "low > 0"),
        (lambda: uniform(float("nan"), 1), "finite"),
        (lambda: integer(1.5, 3), "whole bounds"),
        (lambda: choice([]), "list of values"),
        (lambda: choice("abc"), "list of values"),
        (lambda: choice([object()]), "only strings"),
    ],
)
def test_what_cannot_be_searched_is_refused(make: object, words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        make()  # type: ignore[operator]
