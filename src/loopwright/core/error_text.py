"""What another library's error says, on one line and no longer than a message can bear."""

from __future__ import annotations


def short_text(error: BaseException, *, most: int = 300) -> str:
    r"""Return an error's text on one line, without its full stop, cut after ``most`` characters.

    >>> short_text(ValueError("no such\n  column."))
    'no such column'
    """
    text = " ".join(str(error).split()).rstrip(".")
    return text if len(text) <= most else f"{text[:most]}…"
