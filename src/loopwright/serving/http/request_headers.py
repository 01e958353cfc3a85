"""What a request says about itself in its headers: its id, the version it wants, how long it waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import InvalidRequestError, NotFoundRequestError

if TYPE_CHECKING:
    from loopwright.serving.http.message import HttpRequest

_LONGEST_REQUEST_ID = 128


def request_id(request: HttpRequest) -> str | None:
    """Return the caller's ``X-Request-Id``, or None.

    Raises:
        InvalidRequestError: When it is empty, too long or not printable.
    """
    given = request.header(b"x-request-id")
    return None if given is None else checked_request_id(given)


def checked_request_id(given: str) -> str:
    """Return a caller's id of a request.

    Raises:
        InvalidRequestError: When it is empty, too long or not printable.
    """
    if not given or len(given) > _LONGEST_REQUEST_ID or not given.isprintable():
        raise InvalidRequestError(f"X-Request-Id must have 1 to {_LONGEST_REQUEST_ID} printable characters.")
    return given


def version_number(text: str) -> int:
    """Read a version number from a header or a path.

    Raises:
        NotFoundRequestError: When it is none.
    """
    if not text.isdecimal() or len(text) > 9:
        raise NotFoundRequestError(f"{text[:50]!r} is no version number.", hint="Versions are 1, 2, 3 …")
    return int(text)


def pinned_version(request: HttpRequest) -> int | None:
    """Return the version that ``X-Model-Version`` asks for, or None."""
    text = request.header(b"x-model-version")
    return None if text is None else version_number(text)


def deadline(request: HttpRequest, began: float) -> float | None:
    """Return when ``X-Request-Timeout-Ms`` is over, on the clock of ``began``, or None.

    Raises:
        InvalidRequestError: When it is no number of milliseconds.
    """
    text = request.header(b"x-request-timeout-ms")
    return None if text is None else deadline_of(text, began)


def deadline_of(text: str, began: float) -> float:
    """Return when so many milliseconds are over, on the clock of ``began``.

    Raises:
        InvalidRequestError: When the text is no number of milliseconds.
    """
    try:
        timeout_ms = float(text)
    except ValueError:
        timeout_ms = -1.0
    if not 0 <= timeout_ms < 1e9:
        raise InvalidRequestError(f"X-Request-Timeout-Ms must be a number of milliseconds, got {text[:50]!r}.")
    return began + timeout_ms / 1000
