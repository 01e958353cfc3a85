"""Reads past a watermark without losing or doubling a row.

A watermark is a column that grows with each insert or update, such as ``updated_at``. Reading "everything above the
last value" loses rows: a transaction that began earlier may commit later with a smaller value, and rows may share the
last one. So each read begins ``overlap`` *before* the largest value that was read, and leaves out what was read before:
the mark remembers a digest of each row in the overlap. It remembers :data:`MOST_REMEMBERED` at most; with more, a
dataset's key tells stored rows from new ones, and a dataset without a key is refused.

A value in the future, from a clock that is wrong, does not move the mark beyond the present moment: its row is read,
remembered, and nothing that is written until then is lost. So it is with a text among times or numbers.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, cast

from loopwright.core.durations import parse_duration
from loopwright.core.errors import DeclarationError, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.data.sources.rows import Row, Rows

MOST_REMEMBERED = 50_000
DEFAULT_OVERLAP = timedelta(minutes=10)
DEFAULT_OVERLAP_NUMBERS = 1_000
_FORMAT = 1
_OBJECT_ID = re.compile(r"[0-9a-f]{24}")  # of MongoDB: four bytes of seconds, five of chance, three that count

Overlap = str | float | timedelta | None


@dataclass(frozen=True)
class Mark:
    """How far a part of a source was read.

    Attributes:
        low: The value from which the next read begins.
        newest: The largest value that was read.
        rows: How many rows were read in all; the next row has this number.
        within: How many rows there were from ``low`` on.
        seen: Digests of these rows; empty where there were too many.
        columns: The columns that the digests cover.
    """

    low: object
    newest: object
    rows: int
    within: int
    seen: tuple[str, ...]
    columns: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Return the mark as a JSON value."""
        return {
            "format": _FORMAT,
            "low": encoded(self.low),
            "newest": encoded(self.newest),
            "rows": self.rows,
            "within": self.within,
            "seen": list(self.seen),
            "columns": list(self.columns),
        }

    @classmethod
    def of(cls, position: object) -> Mark | None:
        """Read a mark; None where there is none."""
        if not isinstance(position, dict):
            return None
        return cls(
            decoded(position["low"]),
            decoded(position["newest"]),
            position["rows"],
            position["within"],
            tuple(position["seen"]),
            tuple(position["columns"]),
        )

    def is_behind(self, newest: object, within: int) -> bool:
        """Tell whether a source with this largest value, and so many rows from ``low`` on, has something new."""
        if newest is None:
            return False
        return _above(newest, self.newest) or within > self.within


class Window:
    """The rows from a mark on, less those that were read before.

    Args:
        mark: Where the last read ended; None for the first one.
        column: The watermark.
        overlap: How far before the largest value the next read begins.
        now: The moment of the ingest.
        has_key: Whether the dataset can tell a stored row from a new one.
        where: The source's name, for messages.
        newest: The largest value there will be, where that is known beforehand; spares digests.
    """

    def __init__(
        self,
        mark: Mark | None,
        *,
        column: str,
        overlap: Overlap,
        now: datetime,
        has_key: bool,
        where: str,
        newest: object = None,
    ) -> None:
        self._mark = mark
        self.column = column
        self._overlap = overlap
        self._now = now
        self._has_key = has_key
        self._where = where
        self._left = Counter(mark.seen if mark else ())
        self._among = frozenset(mark.columns) if mark else frozenset()
        self._newest = mark.newest if mark else None
        self._floor = self._low(newest) if newest is not None else None
        self._example = self._newest if newest is None else newest
        self._within: list[tuple[object, str]] = []
        self._columns: dict[str, None] = dict.fromkeys(mark.columns if mark else ())

    def fresh(self, rows: Rows) -> list[Row]:
        """Return the rows that were not read before, in their order.

        Raises:
            SourceError: If the rows lack the watermark, or its values cannot be compared.
        """
        if self.column not in rows.names:
            raise SourceError(f"{self._where}: the rows have no column '{self.column}', the watermark.")
        self._columns.update(dict.fromkeys(rows.names))
        place = rows.names.index(self.column)
        kept: list[Row] = []
        value: object = None
        try:
            for row in rows.values:
                value = row[place]
                if value is not None and _is_stray(value, self._example):
                    value = None
                if not self._was_read(rows, row, value):
                    kept.append(row)
                if value is None or self._floor is None or value >= self._floor:  # type: ignore[operator]
                    self._within.append((value, rows.digest(row)))
                if value is not None and (self._newest is None or _above(value, self._newest)):
                    self._newest = value
        except TypeError as error:
            raise SourceError(
                f"{self._where}: the watermark '{self.column}' holds values of different types, such as {value!r} "
                f"and {self._newest!r}.",
                hint="Take a column of one type.",
            ) from error
        if len(self._within) > 4 * MOST_REMEMBERED and self._newest is not None:
            self._floor = self._low(self._newest)
            self._forget_below(self._floor)
        return kept

    def mark(self, rows: int) -> Mark | None:
        """Return how far was read; None where nothing ever was.

        Args:
            rows: How many rows were read in all.

        Raises:
            SourceError: If a dataset without a key has too many rows within the overlap.
        """
        if self._newest is None:
            return None
        low = self._low(self._newest)
        if self._mark is not None and _above(self._mark.low, low):
            low = self._mark.low  # a larger overlap than before, or a clock that went back: what was read stays read
        self._forget_below(low)
        count = len(self._within)
        if count > MOST_REMEMBERED and not self._has_key:
            raise SourceError(
                f"{self._where}: {count:,} rows have a '{self.column}' of {low} or later, more than the "
                f"{MOST_REMEMBERED:,} that can be told apart without a key.",
                hint="Give the dataset key=, or the source a smaller overlap= or a finer watermark=.",
            )
        seen = () if count > MOST_REMEMBERED else tuple(digest for _, digest in self._within)
        return Mark(low, self._newest, rows, count, seen, tuple(self._columns))

    def _was_read(self, rows: Rows, row: Row, value: object) -> bool:
        if self._mark is None or (value is not None and _above(value, self._mark.newest)):
            return False
        if value is not None and self._mark.low is not None and _above(self._mark.low, value):
            return True  # a server may answer with more than it was asked for
        digest = rows.digest(row, self._among)
        if self._left[digest] <= 0:
            return False
        self._left[digest] -= 1
        return True

    def _forget_below(self, low: object) -> None:
        self._within = [one for one in self._within if one[0] is None or not _above(low, one[0])]

    def _low(self, newest: object) -> object:
        return earlier(_at_most(newest, self._now), self._overlap, f"{self._where}, watermark '{self.column}'")


def earlier(value: object, overlap: Overlap, where: str) -> object:
    """Return a watermark's value less the overlap, in the same form.

    >>> earlier("2026-01-01T00:10:00Z", "10m", "here"), earlier(5000, None, "here"), earlier("b", None, "here")
    ('2026-01-01T00:00:00Z', 4000, 'b')
    >>> earlier("6954b2d80123456789abcdef", "1m", "here")
    '6954b29c0000000000000000'

    Raises:
        DeclarationError: If the overlap is of the wrong kind.
    """
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        if isinstance(overlap, (str, timedelta)):
            raise DeclarationError(
                f"{where}: the values are numbers, and overlap={overlap!r} is a duration.", hint="Give a number."
            )
        by = DEFAULT_OVERLAP_NUMBERS if overlap is None else overlap
        if isinstance(value, Decimal):
            return value - Decimal(str(by))
        return value - (math.ceil(by) if isinstance(value, int) else by)
    if isinstance(value, str):
        moment = _iso(value)
        if _OBJECT_ID.fullmatch(value):
            seconds = max(0, int(value[:8], 16) - math.ceil(_duration(overlap).total_seconds()))
            return f"{seconds:08x}{'0' * 16}"
        if moment is None:
            if overlap:
                raise DeclarationError(
                    f"{where}: the values are texts such as {value!r}, which no overlap= can be taken from.",
                    hint="Leave it out, or take a column of times or numbers.",
                )
            return value
        return _like(moment - _duration(overlap), value)
    if isinstance(value, datetime):
        return value - _duration(overlap)
    if isinstance(value, date):
        return value - timedelta(days=math.ceil(_duration(overlap) / timedelta(days=1)))
    return value


def encoded(value: object) -> object:
    """Return a watermark's value as JSON; numbers, texts and null as they are.

    >>> decoded(encoded(date(2026, 1, 2)))
    datetime.date(2026, 1, 2)
    """
    if isinstance(value, datetime):
        return {"timestamp": value.isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    return value


def decoded(value: object) -> object:
    """Return what :func:`encoded` was given."""
    if not isinstance(value, dict):
        return value
    ((kind, text),) = cast("Mapping[str, str]", value).items()
    if kind == "timestamp":
        return datetime.fromisoformat(text)
    return date.fromisoformat(text) if kind == "date" else Decimal(text)


def _duration(overlap: Overlap) -> timedelta:
    return DEFAULT_OVERLAP if overlap is None else parse_duration(overlap)


def _above(value: object, other: object) -> bool:
    return other is None or bool(value > other)  # type: ignore[operator]


def _at_most(value: object, now: datetime) -> object:
    if isinstance(value, datetime):
        return min(value, now if value.tzinfo else now.astimezone(UTC).replace(tzinfo=None))
    if isinstance(value, date):
        return min(value, now.astimezone(UTC).date())
    moment = _iso(value) if isinstance(value, str) else None
    if moment is None:
        return value
    present = now if moment.tzinfo else now.astimezone(UTC).replace(tzinfo=None)
    return _like(present, cast("str", value)) if moment > present else value


def _is_stray(value: object, example: object) -> bool:
    """Tell whether a value is of another kind than the others: a text among times or numbers, in whatever form."""
    if isinstance(example, str):
        return _iso(example) is not None and not (isinstance(value, str) and _iso(value) is not None)
    numbers = (int, float, Decimal)
    if isinstance(example, numbers):
        return not isinstance(value, numbers)
    return isinstance(example, date) and not isinstance(value, date)


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if len(text) >= len("2026-01-01") and text[4:5] == "-" else None
    except ValueError:
        return None


def _like(moment: datetime, example: str) -> str:
    """Write a moment in the form of another one, so that both compare as texts."""
    if len(example) == len("2026-01-01"):
        return moment.date().isoformat()
    was = _iso(example)
    if was is not None and was.tzinfo is not None and moment.tzinfo is not None:
        moment = moment.astimezone(was.tzinfo)
    _, dot, rest = example.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789")) if dot else 0
    text = moment.isoformat(sep=example[10], timespec="microseconds")
    head, _, tail = text.partition(".")
    zone = "Z" if example.endswith("Z") else tail[6:]
    return head + (f".{tail[:6][:digits]:0<{digits}}" if digits else "") + zone
