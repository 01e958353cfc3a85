from __future__ import annotations

from datetime import UTC, datetime, timedelta

import ibis
import pytest

from loopwright.core.storage.duck import connect
from loopwright.features.availability import CannotFollowError, SourceRule, derive, plain_frames

START = datetime(2026, 1, 1, tzinfo=UTC)
TWO_HOURS_US = 2 * 3600 * 1_000_000
ROWS = 12
SCHEMA = ibis.schema(
    {
        "courier_id": "string",
        "placed_at": "timestamp('UTC')",
        "minutes": "float64",
        "distance_km": "float64",
        "_arrived_at": "timestamp('UTC')",
    }
)
orders = ibis.table(SCHEMA, name="orders")
LABELLED = {"orders": SourceRule("placed_at", "placed_at", {"minutes": TWO_HOURS_US})}
ARRIVING = {"orders": SourceRule("_arrived_at", "placed_at")}


@pytest.fixture
def connection():
    with connect() as opened:
        opened.execute(
            "CREATE TABLE orders AS SELECT 'c' || (i % 2) AS courier_id, "
            "TIMESTAMPTZ '2026-01-01' + to_hours(i::INT) AS placed_at, 30.0::DOUBLE + i AS minutes, "
            f"3.0::DOUBLE AS distance_km, placed_at + to_minutes(90) AS _arrived_at FROM range({ROWS}) t(i)"
        )
        yield opened


def hours(connection, expression, rules=LABELLED, by="placed_at"):
    """Return {hour of the event: hour at which the row was known}."""
    sql = ibis.to_sql(derive(plain_frames(expression), rules), dialect="duckdb")
    moments = f"SELECT epoch_us({by}::TIMESTAMPTZ), epoch_us(__known_at__) FROM ({sql}) ORDER BY ALL"
    start = int(START.timestamp())
    return {
        (event / 1e6 - start) / 3600: (known / 1e6 - start) / 3600
        for event, known in connection.sql(moments).fetchall()
    }


def window(**bounds):
    return ibis.window(group_by="courier_id", order_by="placed_at", **bounds)


def test_a_plain_column_is_known_with_its_row(connection):
    known = hours(connection, orders.select("courier_id", "placed_at", "distance_km"))
    assert known == {float(hour): hour for hour in range(ROWS)}


def test_a_label_is_known_later(connection):
    known = hours(
        connection, orders.mutate(pace=orders.minutes / orders.distance_km).select("courier_id", "placed_at", "pace")
    )
    assert known == {float(hour): hour + 2 for hour in range(ROWS)}


def test_arrival_times_count(connection):
    known = hours(connection, orders.select("courier_id", "placed_at", "minutes"), ARRIVING)
    assert known == {float(hour): hour + 1.5 for hour in range(ROWS)}


def test_a_window_before_the_row_waits_for_its_own_rows(connection):
    expression = orders.select(
        "courier_id", "placed_at", pace=orders.minutes.mean().over(window(preceding=20, following=-1))
    )
    known = hours(connection, expression)
    assert known == {float(hour): hour if hour < 2 else hour - 2 + 2 for hour in range(ROWS)}


def test_a_window_with_its_row_waits_for_it(connection):
    known = hours(
        connection,
        orders.select("courier_id", "placed_at", pace=orders.minutes.mean().over(window(preceding=3, following=0))),
    )
    assert known == {float(hour): hour + 2 for hour in range(ROWS)}


def test_a_window_into_the_future_waits_for_the_future(connection):
    known = hours(
        connection,
        orders.select("courier_id", "placed_at", n=orders.distance_km.sum().over(window(preceding=0, following=2))),
    )
    assert known == {float(hour): min(hour + 4, ROWS - 2 + hour % 2) for hour in range(ROWS)}


def test_lag_and_lead_look_at_the_shifted_row(connection):
    lagged = hours(connection, orders.mutate(f=orders.minutes.lag().over(window())).drop("minutes"))
    assert lagged == {float(hour): hour for hour in range(ROWS)}
    led = hours(connection, orders.mutate(f=orders.distance_km.lead().over(window())).drop("minutes"))
    assert led == {float(hour): hour + 2 if hour < ROWS - 2 else hour for hour in range(ROWS)}


def test_an_aggregate_waits_for_its_last_row(connection):
    known = hours(connection, orders.group_by("courier_id").agg(placed_at=orders.placed_at.max(), n=orders.count()))
    assert known == {10.0: 10, 11.0: 11}
    known = hours(
        connection, orders.group_by("courier_id").agg(placed_at=orders.placed_at.min(), m=orders.minutes.mean())
    )
    assert known == {0.0: 12, 1.0: 13}


def test_a_filter_on_a_label_tells_about_it(connection):
    known = hours(connection, orders.filter(orders.minutes > 34).select("courier_id", "placed_at", "distance_km"))
    assert known == {float(hour): hour + 2 for hour in range(5, ROWS)}
    known = hours(connection, orders.drop_null(["minutes"]).select("courier_id", "placed_at", "distance_km"))
    assert known == {float(hour): hour + 2 for hour in range(ROWS)}


def test_a_join_waits_for_both_sides(connection):
    totals = orders.group_by("courier_id").agg(m=orders.minutes.mean())
    known = hours(connection, orders.left_join(totals, "courier_id").select("courier_id", "placed_at", "m"))
    assert known == {float(hour): 12 + hour % 2 for hour in range(ROWS)}


def test_unions_distinct_rows_sorting_and_filling(connection):
    both = orders.select("courier_id", "placed_at", f="minutes").union(
        orders.select("courier_id", "placed_at", f="distance_km")
    )
    assert hours(connection, both.filter(both.f < 4)) == {float(hour): hour for hour in range(ROWS)}
    assert hours(connection, both.filter(both.f > 4)) == {float(hour): hour + 2 for hour in range(ROWS)}
    rows = (
        orders.select("courier_id", "placed_at", "distance_km")
        .distinct()
        .order_by("placed_at")
        .fill_null({"distance_km": 0.0})
    )
    assert hours(connection, rows) == {float(hour): hour for hour in range(ROWS)}


@pytest.mark.parametrize(
    "expression",
    [
        orders.limit(3),
        orders.sample(0.5),
        orders.filter(orders.courier_id.isin(orders.filter(orders.minutes > 34).courier_id)),
        orders.mutate(top=orders.minutes.max().as_scalar()),
    ],
)
def test_says_what_it_cannot_follow(expression):
    with pytest.raises(CannotFollowError):
        derive(expression, LABELLED)


def test_a_label_is_never_known_at_its_own_event():
    class Source:
        name, event_time, arrival_time = "orders", "placed_at", None

    class Target:
        name, dataset, arrives_after = "minutes", Source, timedelta(0)

    assert SourceRule.of(Source, [Target]).delays_us == {"minutes": 1}
