"""How people name a snapshot: ``orders``, ``orders@3``, ``orders@2026-01-05``, ``orders@tag``; read in one place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from loopwright.core.errors import UsageError

LATEST = "latest"
TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[T ].+")


@dataclass(frozen=True)
class SnapshotName:
    """A dataset and, at most, one of: a version, a moment, a tag. With none of them, the newest snapshot.

    A day means its end in UTC: what was the newest snapshot when the day was over. A moment without a zone is in UTC.

    >>> SnapshotName.parse("orders@3")
    SnapshotName(dataset='orders', version=3, at=None, tag=None)
    >>> SnapshotName.parse("orders@2026-01-05").at.isoformat()
    '2026-01-05T23:59:59.999999+00:00'
    >>> SnapshotName.parse("orders@before-the-fix").tag
    'before-the-fix'
    >>> SnapshotName.parse("orders@latest") == SnapshotName.parse("orders")
    True
    """

    dataset: str
    version: int | None = None
    at: datetime | None = None
    tag: str | None = None

    @classmethod
    def parse(cls, text: str) -> SnapshotName:
        """Read a snapshot's name; ``snapshot:`` before it, as the lineage writes it, is taken too.

        Raises:
            UsageError: If what stands behind the ``@`` is neither a version, a moment nor a tag.
        """
        dataset, sign, which = text.removeprefix("snapshot:").partition("@")
        if not sign or which == LATEST:
            return cls(dataset)
        if which.isascii() and which.isdigit():
            return cls(dataset, version=int(which))
        if TAG_NAME.fullmatch(which):
            return cls(dataset, tag=which)
        at = _moment(which)
        if at is None:
            raise UsageError(
                f"'{text[:200]}' names no snapshot.",
                hint=f"Write {dataset}@3, {dataset}@2026-01-05, {dataset}@2026-01-05T12:00 or {dataset}@a-tag.",
            )
        return cls(dataset, at=at)


def _moment(text: str) -> datetime | None:
    try:
        if _DAY.fullmatch(text):
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, microseconds=-1)
        if _MOMENT.fullmatch(text):
            found = datetime.fromisoformat(text)
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return None
