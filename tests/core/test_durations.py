from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.durations import format_duration, parse_duration
from loopwright.core.errors import DeclarationError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", 7200),
        ("200ms", 0.2),
        ("7d", 604800),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("10min", 600),
        ("250us", 0.00025),
        ("2 w", 1209600),
    ],
)
def test_texts(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "h", "2", "2x", "-2h", "2h!", "two hours"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(DeclarationError, match="duration"):
        parse_duration(text)


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(DeclarationError, match="negative"):
        parse_duration(-1)


@given(st.integers(min_value=1, max_value=10**7))
def test_what_is_written_is_read_back_to_its_precision(seconds: int) -> None:
    read = parse_duration(format_duration(seconds)).total_seconds()
    assert abs(read - seconds) <= max(0.05, seconds * 0.05)
