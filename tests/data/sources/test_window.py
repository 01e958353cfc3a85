"""Reading past a watermark, over random histories: inserts, updates, late commits, ingests, and ingests that die."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import loopwright as lw
from loopwright.core.clock import ManualClock
from loopwright.core.errors import DeclarationError
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.rows import Rows
from loopwright.data.sources.window import Mark, Window, decoded, earlier, encoded

if TYPE_CHECKING:
    from collections.abc import Sequence

OVERLAP = 5
STAGES = ["planned", "staged", "pending", "quarantined", "committed", "recorded"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class DiedError(Exception):
    """The ingest was killed."""


@dataclass(frozen=True)
class Write:
    """Rows of one transaction: how far before the newest watermark each is, and whether its value can be read."""

    late: tuple[int, ...]
    is_update: bool
    is_bad: bool
    step: int


@dataclass(frozen=True)
class Ingest:
    """An ingest, and the stage at which it dies."""

    dies_at: str | None


EVENTS = st.one_of(
    st.builds(
        Write,
        late=st.lists(st.integers(0, OVERLAP), min_size=1, max_size=4).map(tuple),
        is_update=st.booleans(),
        is_bad=st.booleans(),
        step=st.integers(0, 8),
    ),
    st.builds(Ingest, dies_at=st.sampled_from([None, None, *STAGES])),
)


class Source:
    """A table, and what a dataset of it must hold."""

    def __init__(self, folder: Path, *, may_update: bool) -> None:
        self._connection = sqlite3.connect(folder / "shop.db")
        self._connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, price, at INTEGER)")
        self._may_update = may_update
        self._newest = 0
        self._count = 0
        self.rows: dict[int, tuple[object, int]] = {}

    def write(self, event: Write) -> None:
        self._newest += event.step
        with self._connection:
            for late in event.late:
                self._count += 1
                number = self._count
                if event.is_update and self._may_update and self.rows:
                    number = sorted(self.rows)[self._count % len(self.rows)]
                price: object = "bad" if event.is_bad and not self._may_update else self._count / 4
                self.rows[number] = (price, self._newest - late)
                self._connection.execute("INSERT OR REPLACE INTO orders VALUES (?, ?, ?)", (number, *self.rows[number]))

    def close(self) -> None:
        self._connection.close()


@pytest.mark.parametrize("kind", ["keyed", "keyless"])
@settings(max_examples=15)
@given(events=st.lists(EVENTS, min_size=4, max_size=14))
def test_the_dataset_equals_the_source(kind: Literal["keyed", "keyless"], events: Sequence[Write | Ingest]) -> None:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        stores = open_stores(Settings.load(folder, environ={}), clock=ManualClock(NOW))
        stack.callback(stores.close)
        source = Source(folder, may_update=kind == "keyed")
        stack.callback(source.close)
        read = lw.sql("sqlite:///shop.db", table="orders", watermark="at", overlap=OVERLAP)
        price = [lw.column("price", "float")]
        keyed = Dataset("d", read, key="id", on_duplicate="upsert", contract=price)
        dataset = keyed if kind == "keyed" else Dataset("d", read, contract=price)
        dies_at: list[str] = []

        def die(stage: str) -> None:
            if stage in dies_at:
                raise DiedError

        for event in [*events, Ingest(None)]:
            if isinstance(event, Write):
                source.write(event)
                continue
            dies_at[:] = [event.dies_at] if event.dies_at else []
            lake = Lake(stores, on_stage=die)  # as in a process of its own: nothing is left in memory
            with contextlib.suppress(DiedError):
                lake.ingest(dataset)
        lake = Lake(stores)
        assert not lake.has_new(dataset)
        assert lake.ingest(dataset).rows_read == 0
        good = {number: row for number, row in source.rows.items() if row[0] != "bad"}
        stored = lake.read(lake.snapshot("d")).to_pylist() if lake.names() else []
        assert len(stored) == len(good)
        assert {row["id"]: (row["price"], row["at"]) for row in stored} == good
        assert len({row["_source_row"] for row in stored}) == len(stored)
        bad = [entry.source_row for entry in lake.quarantine("d").entries()]
        assert len(bad) == len(set(bad)) == len(source.rows) - len(good)


def window(mark: Mark | None, overlap: object = None, newest: object = None) -> Window:
    return Window(mark, column="at", overlap=overlap, now=NOW, has_key=False, where="here", newest=newest)  # type: ignore[arg-type]


def rows(*values: object) -> Rows:
    return Rows(("id", "at"), [(number, value) for number, value in enumerate(values)], (None, None))


@pytest.mark.parametrize(
    ("value", "overlap", "low"),
    [
        (7, 3, 4),
        (7.5, None, -992.5),
        (Decimal("7.50"), 1, Decimal("6.50")),
        (datetime(2025, 1, 2, tzinfo=UTC), "1h", datetime(2025, 1, 1, 23, tzinfo=UTC)),
        (datetime(2025, 1, 2), None, datetime(2025, 1, 1, 23, 50)),  # noqa: DTZ001 - a time without a zone
        (date(2025, 1, 2), None, date(2025, 1, 1)),
        ("2025-01-02", "1h", "2025-01-01"),
        ("2025-01-02 00:00:00", "1h", "2025-01-01 23:00:00"),
        ("2025-01-02T00:00:00.250+02:00", timedelta(seconds=1), "2025-01-01T23:59:59.250+02:00"),
        ("b", None, "b"),
    ],
)
def test_a_mark_lies_the_overlap_before_the_newest_value(value: object, overlap: object, low: object) -> None:
    assert earlier(value, overlap, "here") == low  # type: ignore[arg-type]
    assert decoded(encoded(low)) == low
    first = window(None, overlap, value)
    assert len(first.fresh(rows(value, value))) == 2
    mark = first.mark(2)
    assert mark is not None
    assert (mark.low, mark.newest, mark.within) == (low, value, 2)
    again = Mark.of(mark.as_json())
    assert again == mark
    assert window(mark, overlap, value).fresh(rows(value, value)) == []
    assert not mark.is_behind(value, 2)
    assert mark.is_behind(value, 3)


def test_a_larger_overlap_than_before_repeats_nothing() -> None:
    first = window(None, 2, 20)
    first.fresh(rows(*range(10, 21)))
    mark = first.mark(11)
    second = window(mark, 10, 20)
    assert second.fresh(rows(*range(10, 21))) == []
    later = second.mark(11)
    assert later is not None
    assert later.low == 18


def test_an_overlap_of_the_wrong_kind_is_said() -> None:
    for value, overlap in [(7, "1h"), ("b", 3), ("b", "1h")]:
        with pytest.raises(DeclarationError, match=r"here: the values are (numbers|texts)"):
            earlier(value, overlap, "here")  # type: ignore[arg-type]
