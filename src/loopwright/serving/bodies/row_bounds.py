"""How many rows one request may have."""

from __future__ import annotations

from loopwright.core.errors import TooLargeError

MAX_ROWS = 100_000


def check_rows(count: int) -> None:
    """Refuse a request of too many rows.

    Raises:
        TooLargeError: When there are more than 100,000.
    """
    if count > MAX_ROWS:
        raise TooLargeError(f"The request has {count} rows; at most {MAX_ROWS} are accepted.", hint="Send fewer rows.")
