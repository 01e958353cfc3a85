"""Media types of bodies: which one a request has, and which one its answer is to have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

JSON = "application/json"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
PARQUET = "application/vnd.apache.parquet"
CSV = "text/csv"
MULTIPART = "multipart/form-data"
BYTES = "application/octet-stream"

TABLES = frozenset({ARROW_STREAM, ARROW_FILE, PARQUET, CSV})
_SPELLINGS = {
    "application/vnd.apache.arrow": ARROW_FILE,
    "application/x-parquet": PARQUET,
    "application/parquet": PARQUET,
    "application/csv": CSV,
}
_AS_JSON = frozenset(
    {"", "text/json", "text/plain", "application/x-www-form-urlencoded"}
)  # what clients say by default


def media_type(content_type: str | None) -> str:
    """Return the type of a body without its parameters, in its usual spelling; JSON where none is said.

    >>> media_type("Application/JSON; charset=utf-8"), media_type(None), media_type("application/csv")
    ('application/json', 'application/json', 'text/csv')
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind in _AS_JSON or kind.endswith("+json"):
        return JSON
    return _SPELLINGS.get(kind, kind)


def accepted(accept: str | None, offered: Sequence[str]) -> str:
    """Return which of the offered types an ``Accept`` header wants most; the first where it wants none of them.

    >>> accepted("text/csv;q=0.5, application/vnd.apache.parquet", (JSON, CSV, PARQUET))
    'application/vnd.apache.parquet'
    >>> accepted("text/html, */*;q=0.1", (JSON, CSV))
    'application/json'
    """
    if accept is None or accept in ("*/*", JSON):
        return offered[0]
    best, best_quality = offered[0], 0.0
    for part in accept.split(","):
        kind, *parameters = part.strip().lower().split(";")
        kind = _SPELLINGS.get(kind.strip(), kind.strip())
        quality = _quality(parameters)
        if kind == "*/*":
            kind = offered[0]
        if kind in offered and quality > best_quality:
            best, best_quality = kind, quality
    return best


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0
