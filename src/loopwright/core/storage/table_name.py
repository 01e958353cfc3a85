"""What a table may be called."""

from __future__ import annotations

import re

from loopwright.core.errors import DeclarationError

_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$")


def check_name(table: str) -> None:
    """Refuse a name that is no path of plain words.

    Raises:
        DeclarationError: it is none.
    """
    if not _NAME.match(table) or len(table) > 200:
        raise DeclarationError(
            f"'{table[:200]}' is no name for a table.",
            hint="Use letters, digits, '_', '-' and '.', in parts separated by '/', such as 'datasets/orders'.",
        )
