import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.planning.quantities import parse_bytes, parse_count, parse_rate, parse_seconds


def test_quantities_as_people_write_them() -> None:
    assert parse_rate("1M/day") == pytest.approx(11.574, rel=1e-3)
    assert parse_rate("50/s") == 50
    assert parse_count("10M") == 1e7
    assert parse_bytes("100KB") == 1e5
    assert parse_bytes("1.5TB") == 1.5e12
    assert parse_seconds("200ms") == 0.2
    assert parse_seconds("90d") == 90 * 86_400
    assert parse_seconds("1y") == 365 * 86_400


@pytest.mark.parametrize("text", ["many", "1M/fortnight", "", "10 apples/day", True, None, "1..5"])
def test_what_is_no_rate(text: object) -> None:
    with pytest.raises(DeclarationError, match=r"is no rate"):
        parse_rate(text)


@given(st.floats(0, 1e12))
def test_a_plain_number_is_itself(value: float) -> None:
    assert parse_count(value) == parse_bytes(value) == value
    assert parse_rate(f"{value:.6f}/s") == pytest.approx(value, abs=1e-6)
