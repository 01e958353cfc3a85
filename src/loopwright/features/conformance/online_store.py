"""What an online store promises, clause by clause."""
# ruff: noqa: S101 - assertions are what this module is made of

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from loopwright.features.online import KeyLookup, OnlineRow, OnlineStore, Value, to_micros

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _row(key: str, hours: float, value: float | None, *, late: float = 0.0) -> OnlineRow:
    moment = NOON + hours * HOUR
    return OnlineRow(key, to_micros(moment), to_micros(moment + late * HOUR), {"pace": value})


def _value(store: OnlineStore, key: str, *, view: str = "v@1") -> object:
    (row,) = store.read_many(view, [key], now=NOON, ttl=None)
    return None if row is None else row.values["pace"]


class OnlineStoreConformance:
    """Subclasses give a fixture ``reopen``: a function that opens the same, at first empty, store once more."""

    @pytest.fixture
    def store(self, reopen: Callable[[], OnlineStore]) -> Iterator[OnlineStore]:
        """Open the store under test."""
        opened = reopen()
        yield opened
        opened.close()

    def test_is_an_online_store(self, store: OnlineStore) -> None:
        """An adapter has every method of the port."""
        assert isinstance(store, OnlineStore)

    def test_gives_back_what_was_written(self, store: OnlineStore) -> None:
        """Values of every kind and both times come back exactly."""
        values: dict[str, Value] = {"a": 1.5, "b": 2**60, "c": True, "d": "Ålesund", "e": None, "f": [0.1, -2.0]}
        row = OnlineRow('["c7"]', to_micros(NOON), to_micros(NOON) + 1, values)
        assert store.write_many("v@1", [row]) == 1
        assert store.read_many("v@1", ['["c7"]'], now=NOON, ttl=None) == [row]

    def test_reads_in_the_order_of_the_keys(self, store: OnlineStore) -> None:
        """Every key gets its place, also twice and where there is nothing."""
        store.write_many("v@1", [_row("a", 0, 1.0), _row("b", 0, 2.0)])
        found = store.read_many("v@1", ["b", "x", "a", "b"], now=NOON, ttl=None)
        assert [row and row.values["pace"] for row in found] == [2.0, None, 1.0, 2.0]
        assert store.read_many("v@1", [], now=NOON, ttl=None) == []

    def test_reads_many_keys_at_once(self, store: OnlineStore) -> None:
        """A read of thousands of keys is complete."""
        store.write_many("v@1", [_row(f"k{number}", 0, float(number)) for number in range(5000)])
        found = store.read_many("v@1", [f"k{number}" for number in range(5000)], now=NOON, ttl=None)
        assert [row and row.values["pace"] for row in found] == [float(number) for number in range(5000)]

    def test_keeps_the_newest_by_event_time(self, store: OnlineStore) -> None:
        """An older row never replaces a newer one, in whatever order they come; an equal one does."""
        assert store.write_many("v@1", [_row("a", 1, 1.0)]) == 1
        assert store.write_many("v@1", [_row("a", 0, 2.0, late=9)]) == 0
        assert _value(store, "a") == 1.0
        assert store.write_many("v@1", [_row("a", 1, 3.0, late=1)]) == 1
        assert store.write_many("v@1", [_row("a", 1, 4.0)]) == 0
        assert store.write_many("v@1", [_row("a", 1, 5.0, late=1)]) == 1
        assert _value(store, "a") == 5.0

    def test_one_call_may_hold_a_key_twice(self, store: OnlineStore) -> None:
        """The newest of a call's rows stands."""
        store.write_many("v@1", [_row("a", 2, 2.0), _row("a", 1, 1.0)])
        assert _value(store, "a") == 2.0

    def test_reads_several_views_in_one_call(self, store: OnlineStore) -> None:
        """Each view gives what it gives alone: its own keys in their order, its own ttl, nothing for no keys."""
        store.write_many("v@1", [_row("a", 0, 1.0), _row("b", -1, 2.0)])
        store.write_many("w@1", [_row("a", -2, 3.0)])
        asked = [
            KeyLookup("v@1", ["b", "x", "a", "b"]),
            KeyLookup("w@1", []),
            KeyLookup("w@1", ["a"], 2 * HOUR),
            KeyLookup("none@1", ["a"]),
            KeyLookup("v@1", ["a", "b"], HOUR),
        ]
        alone = [store.read_many(one.view, one.keys, now=NOON, ttl=one.ttl) for one in asked]
        assert store.read_views(asked, now=NOON) == alone
        assert [len(found) for found in alone] == [4, 0, 1, 1, 2]
        assert alone[2:] == [[None], [None], [_row("a", 0, 1.0), None]]
        assert store.read_views(asked[:1], now=NOON) == alone[:1]
        assert store.read_views([], now=NOON) == []

    def test_honours_the_ttl_when_reading(self, store: OnlineStore) -> None:
        """A row counts while its event time is later than now minus the ttl, the boundary not included."""
        store.write_many("v@1", [_row("a", -2, 1.0)])
        assert store.read_many("v@1", ["a"], now=NOON, ttl=2 * HOUR) == [None]
        assert store.read_many("v@1", ["a"], now=NOON, ttl=2 * HOUR + timedelta(microseconds=1)) != [None]

    def test_keeps_views_apart(self, store: OnlineStore) -> None:
        """Two versions of a view share nothing."""
        store.write_many("v@1", [_row("a", 0, 1.0)], mark="one")
        store.write_many("v@2", [_row("a", 0, 2.0)])
        assert (_value(store, "a"), _value(store, "a", view="v@2")) == (1.0, 2.0)
        assert (store.mark("v@1"), store.mark("v@2"), store.count("v@1")) == ("one", None, 1)
        assert store.views() == ["v@1", "v@2"]
        store.drop("v@1")
        assert (store.views(), store.mark("v@1"), _value(store, "a")) == (["v@2"], None, None)

    def test_deletes_entities(self, store: OnlineStore) -> None:
        """The rows of the named entities go, of this view only; others and the mark stay, and rows may come again."""
        store.write_many("v@1", [_row(f'["c{number}"]', 0, 1.0) for number in range(1200)], mark="one")
        store.write_many("v@2", [_row('["c7"]', 0, 2.0)])
        assert store.keys("v@1") == sorted(f'["c{number}"]' for number in range(1200))
        gone = [f'["c{number}"]' for number in range(1000)]
        assert store.delete_many("v@1", [*gone, '["nobody"]']) == 1000
        assert (store.count("v@1"), store.mark("v@1")) == (200, "one")
        assert store.read_many("v@1", ['["c7"]', '["c1001"]'], now=NOON, ttl=None)[0] is None
        assert _value(store, '["c7"]', view="v@2") == 2.0
        assert store.delete_many("v@1", gone) == 0
        assert store.delete_many("v@1", [], mark="two") == 0
        assert (store.count("v@1"), store.mark("v@1")) == (200, "two")
        assert store.keys("nothing") == []
        assert store.write_many("v@1", [_row('["c7"]', -5, 3.0)]) == 1
        assert _value(store, '["c7"]') == 3.0

    def test_keeps_the_mark_with_the_rows(self, store: OnlineStore) -> None:
        """The last mark stands; a write without one leaves it."""
        store.write_many("v@1", [], mark="one")
        store.write_many("v@1", [_row("a", 0, 1.0)])
        assert store.mark("v@1") == "one"
        store.write_many("v@1", [], mark="two")
        assert store.mark("v@1") == "two"

    def test_a_failed_write_leaves_nothing(self, store: OnlineStore) -> None:
        """A call that raises half-way has written none of its rows and no mark."""

        def rows() -> Iterator[OnlineRow]:
            yield _row("a", 0, 1.0)
            raise RuntimeError

        with pytest.raises(RuntimeError):
            store.write_many("v@1", rows(), mark="one")
        assert (_value(store, "a"), store.mark("v@1")) == (None, None)

    def test_many_threads_write_and_read(self, store: OnlineStore) -> None:
        """Nothing is lost, and a reader sees whole calls only."""
        torn: list[object] = []

        def write(thread: int) -> None:
            for turn in range(20):
                store.write_many("v@1", [_row(f"{thread}-{side}", turn, float(turn)) for side in "ab"])
                left, right = store.read_many("v@1", [f"{thread}-a", f"{thread}-b"], now=NOON, ttl=None)
                if left is None or right is None or left.values != right.values:
                    torn.append((left, right))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not torn
        assert store.count("v@1") == 16
        assert [_value(store, f"{number}-a") for number in range(8)] == [19.0] * 8
