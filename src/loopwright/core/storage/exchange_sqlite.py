"""Events for events on the embedded log: outputs, dead letters, notes and the place in one SQLite transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import ExchangeTakenError
from loopwright.core.storage.events import Event, SqliteEventLog, stored_headers, stored_microseconds
from loopwright.core.storage.exchange import Taken, packed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from loopwright.core.clock import Clock
    from loopwright.core.storage.exchange import ExchangePlan, Made

_FIRST_LOOK_S = 0.001
_LONGEST_LOOK_S = 0.01  # an idle consumer asks for SQLite's data version (a few µs) a hundred times a second


class SqliteExchange(SqliteEventLog):
    """The exchange on a SQLite file; a topic has the one part 0.

    A waiting ``take`` looks at SQLite's counter of foreign commits, at most every 10 ms, and reads only when it moved.

    Args:
        url: Where the event log is.
        plan: The topics.
        clock: For the moments of appending, and for waiting.
    """

    def __init__(self, url: str | Path, plan: ExchangePlan, *, clock: Clock) -> None:
        super().__init__(url, clock=clock)
        self._plan = plan
        self._wait = clock
        self._place = self._begun()
        self._looked = -1

    def take(self, *, limit: int, max_bytes: int, wait_s: float) -> list[Taken]:
        """Return the next events as soon as there are any: all that are there, up to both bounds, or none in time."""
        ends = self._wait.monotonic() + wait_s
        pause = _FIRST_LOOK_S
        while True:
            version = self._number("PRAGMA data_version")
            if version != self._looked:
                if found := self._behind(limit, max_bytes):
                    return found
                self._looked = version
            left = ends - self._wait.monotonic()
            if left <= 0:
                return []
            self._wait.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_LOOK_S)

    def put(self, taken: Sequence[Taken], made: Sequence[Made]) -> None:
        """Write all of it in one transaction; done already, it is not done again.

        Raises:
            ExchangeTakenError: If another consumer of this name has moved the place.
            StoreError: If it could not be written.
        """
        if not taken:
            return
        plan, last = self._plan, taken[-1].offset
        self._looked = -1
        try:
            with self._writing("answer events") as connection:
                place = self._place_in(connection)
                if place == last:  # the commit of the last try came through
                    self._place = last
                    return
                if place != self._place:
                    raise _taken(plan, self._place, place)  # noqa: TRY301 - the transaction must be undone as well
                notes = [one.note for one in made if one.note is not None]
                at_us = stored_microseconds(self._wait.now())
                for topic, events in (
                    (plan.target, [one.event for one in made if not one.is_dead]),
                    (plan.dead, [one.event for one in made if one.is_dead]),
                    (plan.notes, [Event(None, packed(notes))] if notes else []),
                ):
                    if topic is not None and events:
                        self._insert(connection, topic, events, at_us)
                connection.execute("INSERT OR REPLACE INTO consumers VALUES (?, ?, ?)", (*self._who, last))
        except BaseException:
            self.close()  # a commit that failed may leave its transaction open
            raise
        self._place = last

    def give_back(self) -> None:
        """Begin again behind the place on record."""
        self._looked = -1
        self._place = self.committed(*self._who)

    def lag(self) -> int:
        """Return how many events lie behind the place."""
        return max(0, self.end(self._plan.source) - max(self._place, self.start(self._plan.source)))

    @property
    def _who(self) -> tuple[str, str]:
        return self._plan.source, self._plan.consumer

    def _begun(self) -> int:
        """Return the place on record; one that begins behind the newest event is put on record at once."""
        with self._writing("open a consumer") as connection:
            row = connection.execute(_PLACE, self._who).fetchone()
            if row is not None:
                return int(row[0])
            place = 0
            if self._plan.start == "latest":
                last = connection.execute("SELECT last FROM topics WHERE topic = ?", (self._plan.source,)).fetchone()
                place = int(last[0]) if last else 0
            connection.execute("INSERT INTO consumers VALUES (?, ?, ?)", (*self._who, place))
        return place

    def _place_in(self, connection: sqlite3.Connection) -> int:
        row = connection.execute(_PLACE, self._who).fetchone()
        return int(row[0]) if row else 0

    def _behind(self, limit: int, max_bytes: int) -> list[Taken]:
        with self._translated("read"):
            rows = self._connection().execute(
                "SELECT offset, key, value, headers, appended_at FROM events "
                "WHERE topic = ? AND offset > ? ORDER BY offset LIMIT ?",
                (self._plan.source, self._place, limit),
            )
            found: list[Taken] = []
            size = 0
            for offset, key, value, headers, at_us in rows:
                size += len(value)
                if found and size > max_bytes:
                    break
                found.append(Taken(0, offset, key, value, stored_headers(headers), at_us))
            rows.close()
        return found


def _taken(plan: ExchangePlan, known: int, found: int) -> ExchangeTakenError:
    return ExchangeTakenError(
        f"The consumer '{plan.consumer}' of '{plan.source}' was moved from {known} to {found} by another process.",
        hint="Run one stream of a model at a time; this one has written nothing.",
    )


_PLACE = "SELECT offset FROM consumers WHERE topic = ? AND name = ?"
