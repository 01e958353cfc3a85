"""The exchange on SQLite, held to the port's suite, and killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopwright.core.clock import SystemClock
from loopwright.core.errors import ExchangeTakenError
from loopwright.core.storage.conformance.exchange import PLAN, ExchangeConformance
from loopwright.core.storage.events import Event, SqliteEventLog
from loopwright.core.storage.exchange import Made
from loopwright.core.storage.exchange_sqlite import SqliteExchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loopwright.core.storage.exchange import ExchangePlan


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteEventLog]:
    opened = SqliteEventLog(tmp_path / "events.db")
    yield opened
    opened.close()


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Callable[[ExchangePlan], SqliteExchange]]:
    opened = []

    def reopen(plan: ExchangePlan) -> SqliteExchange:
        opened.append(SqliteExchange(tmp_path / "events.db", plan, clock=SystemClock()))
        return opened[-1]

    yield reopen
    for one in opened:
        one.close()


class TestSqliteExchange(ExchangeConformance):
    pass


def test_what_was_not_written_is_not_there_in_part(
    log: SqliteEventLog, reopen: Callable[[ExchangePlan], SqliteExchange]
) -> None:
    """An output that cannot be written takes the place and the notes with it; the next try writes all."""
    log.append("in", [Event(None, b"1"), Event(None, b"2")])
    exchange = reopen(PLAN)
    taken = exchange.take(limit=2, max_bytes=100, wait_s=5)
    good = [Made(Event(None, one.value), is_dead=False, note=b"\x01") for one in taken]
    broken = [good[0], Made(Event(None, object()), is_dead=True)]
    with pytest.raises(Exception, match=r"type|bind"):
        exchange.put(taken, broken)
    assert [log.end(topic) for topic in ("out", "dead", "notes")] == [0, 0, 0]
    exchange.put(taken, good)
    assert [log.end(topic) for topic in ("out", "dead", "notes")] == [2, 0, 1]


def test_a_place_moved_back_by_hand_is_noticed(
    log: SqliteEventLog, reopen: Callable[[ExchangePlan], SqliteExchange]
) -> None:
    log.append("in", [Event(None, b"1"), Event(None, b"2"), Event(None, b"3")])
    exchange = reopen(PLAN)
    for _ in range(2):
        taken = exchange.take(limit=1, max_bytes=100, wait_s=5)
        exchange.put(taken, [Made(Event(None, b"x"), is_dead=False)])
    log.commit("in", "c", 0)
    taken = exchange.take(limit=1, max_bytes=100, wait_s=5)
    with pytest.raises(ExchangeTakenError, match="moved from 2 to 0"):
        exchange.put(taken, [Made(Event(None, b"x"), is_dead=False)])
