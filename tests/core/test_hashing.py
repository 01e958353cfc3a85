from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.hashing import digest_bytes, digest_file, digest_function, digest_json, source_of

FACTOR = 2


def helper(x: float) -> float:
    return x + 1


def with_comment(x: float) -> float:
    """Say something."""
    # and something else
    return x * FACTOR


def without_comment(x: float) -> float:
    return x * FACTOR


def with_other_constant(x: float) -> float:
    return x * 3


def through_helper(x: float) -> float:
    return helper(x)


def closing_over(n: int) -> Callable[[float], float]:
    return lambda x: x + n


def test_comments_and_docstrings_do_not_count() -> None:
    assert digest_function(with_comment) == digest_function(without_comment)


def test_the_body_closures_and_helpers_count(monkeypatch) -> None:
    assert digest_function(without_comment) != digest_function(with_other_constant)
    assert digest_function(closing_over(1)) != digest_function(closing_over(2))
    before = digest_function(through_helper), digest_function(without_comment)
    monkeypatch.setitem(globals(), "helper", with_other_constant)
    monkeypatch.setitem(globals(), "FACTOR", 5)
    assert digest_function(through_helper) != before[0]
    assert digest_function(without_comment) != before[1]


def test_recursion_ends() -> None:
    def factorial(n: int) -> int:
        return 1 if n == 0 else n * factorial(n - 1)

    assert digest_function(factorial) == digest_function(factorial)


def test_source_is_unindented() -> None:
    assert source_of(helper).startswith("def helper")


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_the_order_of_keys_does_not_count(value: dict[str, object]) -> None:
    assert digest_json(value) == digest_json(dict(reversed(value.items())))


def test_a_file_has_the_digest_of_its_bytes(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 1000)
    assert digest_file(tmp_path / "a") == digest_bytes(b"abc" * 1000)
