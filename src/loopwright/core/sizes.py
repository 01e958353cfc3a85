"""Sizes in bytes as people write them: ``"100KB"``, ``"4 GB"``. Units are powers of 1,000."""

from __future__ import annotations

import re

from loopwright.core.errors import DeclarationError

_UNITS = {"B": 1, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|KB|MB|GB)\s*", re.IGNORECASE)


def parse_size(value: str | int, *, what: str = "size") -> int:
    """Read a size in bytes: ``"100KB"``, or a number of bytes.

    Args:
        value: The size.
        what: What it is a size of, in words, for the error.

    Raises:
        DeclarationError: If the text is no size.

    >>> parse_size("1.5 MB"), parse_size(20)
    (1500000, 20)
    """
    if isinstance(value, int):
        return value
    match = _SIZE.fullmatch(value)
    if not match:
        hint = "Write a number and B, KB, MB or GB, such as '100KB', or as in '4GB'."
        raise DeclarationError(f"{value!r} is not a {what}.", hint=hint)
    return round(float(match[1]) * _UNITS[match[2].upper()])


def format_size(count: int) -> str:
    """Write a number of bytes for people.

    >>> format_size(300_000_000), format_size(2_500)
    ('300 MB', '2.5 kB')
    """
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
