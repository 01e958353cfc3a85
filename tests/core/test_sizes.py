import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.core.sizes import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"), [("4GB", 4_000_000_000), (" 1.5 mb ", 1_500_000), ("100KB", 100_000), ("7B", 7), (7, 7)]
)
def test_texts(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "lots", "4", "4TB", "-1GB", "4 G B"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(DeclarationError, match="is not a size of memory"):
        parse_size(text, what="size of memory")


@given(st.integers(1_000, 999_999_999_999))
def test_a_written_size_reads_back_within_half_a_percent(size: int) -> None:
    written = format_size(size)
    if not written.endswith("TB") and "e+" not in written:
        assert parse_size(written) == pytest.approx(size, rel=0.0051)
