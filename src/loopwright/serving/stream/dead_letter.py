"""Dead letters: events that could not be answered, unchanged, with the reason in their headers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from loopwright.core.storage.events import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.core.errors import RequestError
    from loopwright.core.storage.events import StoredEvent
    from loopwright.core.storage.exchange import Taken

_OWN = "loopwright-"
_ATTEMPTS = f"{_OWN}attempts"
_REASON_CHARACTERS = 500


@dataclass(frozen=True)
class DeadLetter:
    """One event that could not be answered.

    Attributes:
        offset: Place among the dead letters.
        reason: What is wrong, in words.
        error: Class of the error.
        topic: Where the event was read,
        partition: in which part of it,
        source_offset: and at which place.
        attempts: How often it was tried, replays included.
        failed_at: When it was given up.
        version: The version that could not answer it, or None where its value could not be read.
        is_replayed: Whether it has been given back to its topic.
    """

    offset: int
    reason: str
    error: str
    topic: str
    partition: int
    source_offset: int
    attempts: int
    failed_at: datetime | None
    version: int | None
    key: str | None
    value: bytes
    is_replayed: bool


def letter_of(
    topic: str, event: Taken, error: RequestError, at: datetime, attempts: int, *, version: int | None = None
) -> Event:
    """Return the dead letter of an event: its own key, value and headers, and ours beside them."""
    before = int(event.headers.get(_ATTEMPTS, "0")) if event.headers else 0
    headers = {
        **event.headers,
        f"{_OWN}reason": str(error)[:_REASON_CHARACTERS],
        f"{_OWN}error": type(error).__name__,
        f"{_OWN}topic": topic,
        f"{_OWN}partition": str(event.partition),
        f"{_OWN}offset": str(event.offset),
        _ATTEMPTS: str(before + attempts),
        f"{_OWN}failed-at": at.astimezone(UTC).isoformat(),
    }
    if version is not None:
        headers[f"{_OWN}version"] = str(version)
    return Event(event.key, event.value, headers)


def read_letter(stored: StoredEvent, *, replayed_up_to: int = 0) -> DeadLetter:
    """Read a dead letter from its topic; what others wrote there has no reason."""
    own = {name.removeprefix(_OWN): text for name, text in stored.headers.items() if name.startswith(_OWN)}
    return DeadLetter(
        offset=stored.offset,
        reason=own.get("reason", ""),
        error=own.get("error", ""),
        topic=own.get("topic", ""),
        partition=_number(own, "partition"),
        source_offset=_number(own, "offset"),
        attempts=_number(own, "attempts"),
        failed_at=_moment(own.get("failed-at")),
        version=_number(own, "version") if "version" in own else None,
        key=stored.key,
        value=stored.value,
        is_replayed=stored.offset <= replayed_up_to,
    )


def event_again(key: str | None, value: bytes, headers: Mapping[str, str]) -> Event:
    """Return the event that a dead letter was made of; it keeps the number of its attempts."""
    kept = {name: text for name, text in headers.items() if not name.startswith(_OWN) or name == _ATTEMPTS}
    return Event(key, value, kept)


def _number(own: Mapping[str, str], name: str) -> int:
    text = own.get(name, "")
    return int(text) if text.isdigit() else 0


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
