"""Columns that hold personal data, and what is done about it.

==============  ========================================================================================
``hash``        at ingest, the value becomes a pseudonym: equal values stay equal, so that joins and
                counts work, and requests are treated alike
``mask``        at ingest, only the outline of the value is kept (``a***``)
``drop``        at ingest, the value is checked and then not stored at all
``restrict``    the value is stored; it leaves the workspace only for a role that may, and on record
==============  ========================================================================================
"""

from __future__ import annotations

from typing import cast, get_args

from loopwright.core.errors import ContractError
from loopwright.data.contract.words import Sensitive

_CHANGED_AT_INGEST = ("hash", "mask", "drop")
_TEXTS = ("string", "category")
_PAYLOADS = ("image", "audio", "text")


def check_sensitive(where: str, type_: str, sensitive: bool | str | None) -> Sensitive | None:  # noqa: FBT001 - as declared
    """Return what a declaration means; True is ``restrict``.

    Raises:
        ContractError: If the word is unknown, or cannot be done to a column of this type.
    """
    if sensitive is None or sensitive is False:
        return None
    word = "restrict" if sensitive is True else sensitive
    if word not in get_args(Sensitive):
        raise ContractError(f"{where}: sensitive= is True, 'restrict', 'hash', 'mask' or 'drop', got {sensitive!r}.")
    known = cast("Sensitive", word)
    if known in ("hash", "mask") and type_ not in _TEXTS:
        raise ContractError(
            f"{where} is {type_}, and sensitive={known!r} makes a text of it.",
            hint="Declare it as 'string', or use sensitive='drop' or 'restrict'.",
        )
    if known == "drop" and type_ in _PAYLOADS:
        raise ContractError(
            f"{where} is {type_}, whose content is stored apart from its row.",
            hint="Leave the column out of the source, or use sensitive='restrict'.",
        )
    return known


def is_changed_at_ingest(sensitive: Sensitive | None) -> bool:
    """Tell whether the dataset holds something else than the source gave."""
    return sensitive in _CHANGED_AT_INGEST


def masked(value: str) -> str:
    """Return the outline of a text: its first character, and nothing of its length.

    >>> masked("ada@example.org"), masked("x")
    ('a***', '***')
    """
    return f"{value[0]}***" if len(value) > 2 else "***"
