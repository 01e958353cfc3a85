"""What an engine promises: the same rows, availability and joins as the definition, worked out row by row.

Subclasses give a fixture ``engine``, and may name in ``cannot`` (a mapping from a case to its reason) what their
backend has no words for. Values are compared as an example would see them; floats to a relative 1e-9.
"""
# ruff: noqa: S101 - assertions are what this module is made of

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import ibis
import numpy as np
import pyarrow as pa
import pytest

from loopwright.core.errors import FeatureError
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.features.engine import Inputs
from loopwright.features.label import label
from loopwright.features.view import FeatureView, feature_view

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopwright.core.storage.stores import Stores
    from loopwright.features.engine import EngineSession, FeatureEngine
    from loopwright.features.label import Label

START = datetime(2026, 1, 1, tzinfo=UTC)
MOMENT = pa.timestamp("us", tz="UTC")
HOUR = timedelta(hours=1)
Row = dict[str, Any]


def orders_dataset() -> Dataset:
    """Declare the dataset of every case."""
    contract = [
        column("order_id", "int"),
        column("placed_at", "timestamp"),
        column("courier_id", "int", required=False),
        column("city", "category"),
        column("distance_km", "float"),
        column("minutes", "float", required=False),
    ]
    return Dataset("orders", push(), event_time="placed_at", key="order_id", contract=contract)


def orders_table(rows: int = 240, couriers: int = 5, seed: int = 0) -> pa.Table:
    """Make orders twenty minutes apart, some without a courier, some without minutes."""
    rng = np.random.default_rng(seed)
    who = [None if i % 17 == 3 else int(rng.integers(couriers)) for i in range(rows)]
    return pa.table(
        {
            "order_id": range(rows),
            "placed_at": pa.array([START + timedelta(minutes=20 * i) for i in range(rows)], MOMENT),
            "courier_id": pa.array(who, pa.int64()),
            "city": rng.choice(["Oslo", "Bergen"], rows).tolist(),
            "distance_km": rng.uniform(1, 20, rows),
            "minutes": pa.array([None if i % 13 == 5 else float(rng.uniform(5, 60)) for i in range(rows)]),
        }
    )


def last_orders(orders: ibis.Table) -> ibis.Table:
    """Mean minutes of the courier's last five orders, and where and when the last one was."""
    before = ibis.window(group_by="courier_id", order_by="placed_at", preceding=5, following=-1)
    return orders.select("courier_id", "placed_at", pace=orders.minutes.mean().over(before), city=orders.city)


def city_hour(orders: ibis.Table) -> ibis.Table:
    """Orders and mean distance of each city by the hour, at the hour's end."""
    hours = orders.mutate(hour=orders.placed_at.truncate("h") + ibis.interval(hours=1))
    return hours.group_by("city", "hour").agg(n=hours.count(), km=hours.distance_km.mean())


def load(orders: ibis.Table) -> ibis.Table:
    """Orders of all couriers by the hour, at the hour's end."""
    hours = orders.mutate(hour=orders.placed_at.truncate("h") + ibis.interval(hours=1))
    return hours.group_by("hour").agg(load=hours.count())


def pace_change(pace: ibis.Table) -> ibis.Table:
    """How much slower the courier became since the order before."""
    before = ibis.window(group_by="courier_id", order_by="placed_at")
    return pace.select("courier_id", "placed_at", change=pace.pace - pace.pace.lag().over(before))


class FeatureEngineConformance:
    """Subclasses give fixtures ``engine`` and ``stores``."""

    cannot: ClassVar[dict[str, str]] = {}

    @pytest.fixture
    def orders(self) -> Dataset:
        """Declare the orders."""
        return orders_dataset()

    @pytest.fixture
    def opened(self, engine: FeatureEngine, stores: Stores) -> Callable[[Dataset, pa.Table], EngineSession]:
        """Give a function that stores some rows and opens a session on them."""

        def open_on(dataset: Dataset, rows: pa.Table) -> EngineSession:
            lake = Lake(stores)
            snapshot = lake.push(dataset, rows).snapshot
            assert snapshot is not None
            return engine.open(Inputs(stores, lake, {dataset.name: snapshot}))

        return open_on

    def test_a_view_as_known_at(self, opened: Callable[..., EngineSession], orders: Dataset) -> None:
        """A label's value counts two hours after its row, and a ttl of a day ends a row."""
        rows = orders_table()
        view = feature_view(last_orders, orders, entity="courier_id", ttl="1d")
        target = label(orders["minutes"], arrives_after="2h")
        with opened(orders, rows) as session:
            found = joined(session, [view], [target], every=37)
        plain = rows.to_pylist()
        history = [_pace_of(plain, place) for place in range(len(plain))]
        for example in found:
            taken = _as_known_at(history, example["courier_id"], example["t"], ttl=timedelta(days=1))
            assert _same(example["pace"], None if taken is None else taken["pace"]), example
            assert example["city"] == (None if taken is None else taken["city"])

    def test_several_kinds_in_one_join(self, opened: Callable[..., EngineSession], orders: Dataset) -> None:
        """Two keys, a key under another name, no key at all, and a view of a view, side by side."""
        rows = orders_table()
        pace = feature_view(last_orders, orders, entity="courier_id")
        only_change = feature_view(pace_change, pace, entity="courier_id")
        cities = feature_view(city_hour, orders, entity={"city": "town"}, event_time="hour")
        everywhere = feature_view(load, orders, entity=(), event_time="hour")
        with opened(orders, rows) as session:
            found = joined(session, [cities, everywhere, only_change], [], every=41)
        plain = rows.to_pylist()
        history = [_pace_of(plain, place, delay=timedelta(0)) for place in range(len(plain))]
        by_hour: dict[tuple[object, datetime], list[float]] = {}
        for row in plain:
            hour = row["placed_at"].replace(minute=0) + HOUR
            for key in (row["city"], None):
                by_hour.setdefault((key, hour), []).append(row["distance_km"])
        for example in found:
            now = example["t"]
            for key, names in ((example["town"], ("n", "km")), (None, ("load",))):
                hours = [hour for city, hour in by_hour if city == key and hour <= now]
                values = by_hour[key, max(hours)] if hours else []
                expected = {"n": len(values), "load": len(values), "km": float(np.mean(values)) if values else None}
                for name in names:
                    assert _same(example[name], expected[name] if values else None), (name, example)
            own = [row for row in history if row["courier_id"] == example["courier_id"] and row["placed_at"] <= now]
            paces = [row["pace"] for row in own[-2:]] if example["courier_id"] is not None else []
            change = None if len(paces) < 2 or None in paces else paces[1] - paces[0]
            assert _same(example["change"], change), example

    def test_the_latest_row_of_each_entity(self, opened: Callable[..., EngineSession], orders: Dataset) -> None:
        """What an online store is filled with: the row that counts at a moment; later only what came since."""
        rows = orders_table()
        view = feature_view(last_orders, orders, entity="courier_id", ttl="1d")
        target = label(orders["minutes"], arrives_after="2h")
        now = START + timedelta(days=2)
        plain = rows.to_pylist()
        history = [_pace_of(plain, place) for place in range(len(plain))]
        with opened(orders, rows) as session:
            computed = session.compute(view, [target])
            latest = session.latest(computed, until=now, batch=1000).read_all().to_pylist()
            newer = session.latest(computed, until=now + HOUR, after=now, batch=1000).read_all().to_pylist()
        assert computed.rows == rows.num_rows
        expected = {key: _as_known_at(history, key, now, ttl=timedelta(days=1)) for key in range(5)}
        assert {row["courier_id"] for row in latest} == {key for key, row in expected.items() if row is not None}
        for row in latest:
            wanted = expected[row["courier_id"]]
            assert wanted is not None
            assert (row["placed_at"], row["__known_at__"]) == (wanted["placed_at"], wanted["known_at"])
            assert _same(row["pace"], wanted["pace"])
        for row in newer:
            wanted = _as_known_at(history, row["courier_id"], now + HOUR, ttl=timedelta(days=1))
            assert wanted is not None
            assert wanted["known_at"] > now
            assert _same(row["pace"], wanted["pace"])

    def test_a_range_of_rows(self, opened: Callable[..., EngineSession], orders: Dataset) -> None:
        """A stream of the rows of a range of event times has each once."""
        view = feature_view(last_orders, orders, entity="courier_id")
        with opened(orders, orders_table()) as session:
            computed = session.compute(view)
            first = session.stream(computed, before=START + 10 * HOUR, batch=7).read_all()
            rest = session.stream(computed, since=START + 10 * HOUR, batch=1000).read_all()
            again = session.compute(view)
        assert (first.num_rows, rest.num_rows) == (30, 210)
        assert first.schema.names == ["courier_id", "placed_at", "__known_at__", "pace", "city"]
        assert again.join.table == computed.join.table

    def test_two_rows_of_one_moment_are_refused(self, opened: Callable[..., EngineSession], orders: Dataset) -> None:
        """A view that multiplies rows is named with the entity and the count."""
        twice = feature_view(
            lambda orders: orders.union(orders).select("courier_id", "placed_at", x="distance_km"),
            orders, entity="courier_id", name="twice",
        )  # fmt: skip
        with opened(orders, orders_table(20)) as session, pytest.raises(FeatureError, match="returns 2 rows for"):
            session.compute(twice)

    def test_no_rows_give_no_values(self, opened: Callable[..., EngineSession], orders: Dataset) -> None:
        """A view whose filter leaves nothing gives every example an empty value."""
        empty = feature_view(
            lambda orders: orders.filter(orders.distance_km > 1e6).select("courier_id", "placed_at", x="distance_km"),
            orders, entity="courier_id", name="nothing",
        )  # fmt: skip
        with opened(orders, orders_table(20)) as session:
            found = joined(session, [empty], [], every=3)
            assert session.compute(empty).rows == 0
        assert len(found) > 5
        assert [row["x"] for row in found] == [None] * len(found)


def joined(session: EngineSession, views: Sequence[FeatureView], labels: Sequence[Label], *, every: int) -> list[Row]:
    """Join views to examples that lie some minutes apart, between and on the rows' own moments."""
    session.desk.execute(
        "CREATE OR REPLACE TEMP TABLE x AS SELECT row_number() OVER (ORDER BY order_id) AS row, "
        "courier_id, city AS town, placed_at + to_minutes((order_id % 7) * 10) AS t FROM orders "
        f"WHERE order_id % {max(2, every // 10)} = 0"
    )
    rows = [session.compute(view, labels) for view in views]
    reader = session.join("x", rows, time="t", columns=("row", "courier_id", "town", "t"), order="row", batch=50)
    found = reader.read_all().to_pylist()
    assert [row["row"] for row in found] == list(range(1, len(found) + 1))
    return [{key: _plain(value) for key, value in row.items()} for row in found]


def _plain(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


def _same(left: object, right: object) -> bool:
    if isinstance(left, float) and isinstance(right, int | float):
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9)
    return left == right


def _pace_of(rows: list[Row], place: int, *, delay: timedelta = 2 * HOUR) -> Row:
    """Work out one row of ``last_orders``, and when it was known."""
    row = rows[place]
    window = [other for other in rows[:place] if other["courier_id"] == row["courier_id"]][-5:]
    minutes = [other["minutes"] for other in window if other["minutes"] is not None]
    known = max([row["placed_at"], *(other["placed_at"] + delay for other in window)])
    pace = float(np.mean(minutes)) if minutes else None
    return {**row, "pace": pace, "known_at": known}


def _as_known_at(history: list[Row], courier: object, now: datetime, *, ttl: timedelta) -> Row | None:
    known = [row for row in history if courier is not None and row["courier_id"] == courier and row["known_at"] <= now]
    best = max(known, key=lambda row: (row["placed_at"], row["known_at"]), default=None)
    return best if best is not None and best["placed_at"] > now - ttl else None
