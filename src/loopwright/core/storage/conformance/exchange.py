"""What an exchange of events promises, clause by clause."""
# ruff: noqa: S101 - assertions are what this module is made of

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec
import pytest

from loopwright.core.errors import ExchangeTakenError, StoreError
from loopwright.core.storage.events import Event, EventLog
from loopwright.core.storage.exchange import Exchange, ExchangePlan, Made, Taken, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PLAN = ExchangePlan("c", "in", "out", "dead", "notes")
_PATIENCE_S = 20.0
_MANY = 1 << 30


def _answers(taken: Sequence[Taken], *, name: str = "a") -> list[Made]:
    """Answer each event with its value; one that begins with ``!`` is dead."""
    return [
        Made(
            Event(one.key, name.encode() + one.value, {"from": f"{one.partition}/{one.offset}"}),
            is_dead=one.value.startswith(b"!"),
            note=msgspec.msgpack.encode([one.offset, name]),
        )
        for one in taken
    ]


class ExchangeConformance:
    """Subclasses give ``log``, a log of events, and ``reopen``, which opens an exchange of a plan on the same.

    ``gaps`` names the tests that an adapter, or the server it is held to, cannot pass, each with the reason.
    """

    gaps: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture(autouse=True)
    def _declared_gap(self, request: pytest.FixtureRequest) -> None:
        reason = self.gaps.get(request.node.originalname)
        if reason is not None:
            pytest.skip(reason)

    def _values(self, log: EventLog, topic: str) -> list[bytes]:
        return [event.value for event in log.read(topic, limit=100_000)]

    def _notes(self, log: EventLog) -> list[list[object]]:
        return [
            note
            for event in log.read("notes", limit=100_000)
            for note in msgspec.msgpack.decode(unpacked(event.value).notes)
        ]

    def _take(self, exchange: Exchange, count: int) -> list[Taken]:
        taken = exchange.take(limit=count, max_bytes=_MANY, wait_s=_PATIENCE_S)
        while taken and len(taken) < count:  # an adapter may give what has come so far
            exchange.give_back()
            taken = exchange.take(limit=count, max_bytes=_MANY, wait_s=_PATIENCE_S)
        return taken

    def test_is_an_exchange(self, reopen: Callable[..., Exchange]) -> None:
        """An adapter has every method of the port."""
        assert isinstance(reopen(PLAN), Exchange)

    def test_answers_events_in_their_order(self, log: EventLog, reopen: Callable[..., Exchange]) -> None:
        """What was taken is answered once, dead letters apart, and the next take begins behind it."""
        log.append("in", [Event("k", b"1", {"h": "ü"}), Event(None, b"!2"), Event("k", b"3")])
        exchange = reopen(PLAN)
        taken = self._take(exchange, 3)
        assert [(one.key, one.value, dict(one.headers)) for one in taken] == [
            ("k", b"1", {"h": "ü"}),
            (None, b"!2", {}),
            ("k", b"3", {}),
        ]
        assert all(one.at_us > 0 for one in taken)
        exchange.put(taken, _answers(taken))
        assert (self._values(log, "out"), self._values(log, "dead")) == ([b"a1", b"a3"], [b"a!2"])
        assert [note[1] for note in self._notes(log)] == ["a", "a", "a"]
        assert exchange.lag() == 0
        assert exchange.take(limit=10, max_bytes=_MANY, wait_s=0.05) == []

    def test_goes_on_where_it_was(self, log: EventLog, reopen: Callable[..., Exchange]) -> None:
        """Opened again, nothing that was put is taken again, and all that was not put is."""
        log.append("in", [Event(None, str(number).encode()) for number in range(5)])
        first = reopen(PLAN)
        taken = self._take(first, 2)
        first.put(taken, _answers(taken))
        first.take(limit=2, max_bytes=_MANY, wait_s=_PATIENCE_S)  # taken, and never put
        first.close()
        second = reopen(PLAN)
        assert second.lag() == 3
        rest = self._take(second, 3)
        second.put(rest, _answers(rest))
        assert self._values(log, "out") == [b"a0", b"a1", b"a2", b"a3", b"a4"]

    def test_gives_back_what_was_not_put(self, log: EventLog, reopen: Callable[..., Exchange]) -> None:
        """After ``give_back`` the same events come again."""
        log.append("in", [Event(None, b"1"), Event(None, b"2")])
        exchange = reopen(PLAN)
        once = self._take(exchange, 2)
        exchange.give_back()
        assert self._take(exchange, 2) == once

    def test_keeps_to_both_bounds(self, log: EventLog, reopen: Callable[..., Exchange]) -> None:
        """A take ends before the event that would go over the bytes, but always has one."""
        log.append("in", [Event(None, b"x" * 100) for _ in range(10)])
        exchange = reopen(PLAN)
        sizes: list[int] = []
        while taken := exchange.take(limit=4, max_bytes=250, wait_s=2.0 if sum(sizes) < 10 else 0.05):
            assert len(taken) <= 2
            sizes.append(len(taken))
            exchange.put(taken, _answers(taken))
        assert sum(sizes) == 10
        log.append("in", [Event(None, b"y" * 1000)])
        assert len(exchange.take(limit=4, max_bytes=250, wait_s=_PATIENCE_S)) == 1

    def test_begins_behind_the_newest(self, log: EventLog, reopen: Callable[..., Exchange]) -> None:
        """``latest`` leaves out what was there when the consumer first began, and nothing that came after."""
        log.append("in", [Event(None, b"old")])
        plan = ExchangePlan("c", "in", "out", "dead", "notes", "latest")
        reopen(plan).close()
        log.append("in", [Event(None, b"new")])
        exchange = reopen(plan)
        assert [one.value for one in self._take(exchange, 1)] == [b"new"]

    def test_consumers_have_their_own_place(self, log: EventLog, reopen: Callable[..., Exchange]) -> None:
        """Two consumers of different names each see everything."""
        log.append("in", [Event(None, b"1")])
        for name in ("one", "two"):
            exchange = reopen(ExchangePlan(name, "in", f"out-{name}", "dead"))
            taken = self._take(exchange, 1)
            exchange.put(taken, _answers(taken, name=name))
            assert self._values(log, f"out-{name}") == [f"{name}1".encode()]
            exchange.close()

    def test_a_second_consumer_is_told(self, log: EventLog, reopen: Callable[..., Exchange]) -> None:
        """Of two consumers of one name the one that came later goes on; the other writes nothing and says so."""
        log.append("in", [Event(None, b"1"), Event(None, b"2")])
        first = reopen(PLAN)
        held = self._take(first, 1)
        second = reopen(PLAN)
        both = self._take(second, 2)
        second.put(both, _answers(both))
        with pytest.raises((ExchangeTakenError, StoreError)):
            first.put(held, _answers(held, name="late"))
        assert self._values(log, "out") == [b"a1", b"a2"]

    def test_a_put_that_is_repeated_writes_once(self, log: EventLog, reopen: Callable[..., Exchange]) -> None:
        """Whoever does not know whether a put came through puts again."""
        log.append("in", [Event(None, b"1"), Event(None, b"!2")])
        exchange = reopen(PLAN)
        taken = self._take(exchange, 2)
        exchange.put(taken, _answers(taken))
        exchange.put(taken, _answers(taken))
        assert (self._values(log, "out"), self._values(log, "dead")) == ([b"a1"], [b"a!2"])
        assert len(self._notes(log)) == 2
