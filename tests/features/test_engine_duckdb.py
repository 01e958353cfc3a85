from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from loopwright.core.errors import FeatureError
from loopwright.core.storage.duck import connect
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.sources.push import push
from loopwright.features.engine_duckdb import DuckSession
from loopwright.features.label import label
from loopwright.features.view import feature_view

START = datetime(2026, 1, 1, tzinfo=UTC)


def dataset(**options):
    contract = [column("who", "string"), column("at", "timestamp"), column("y", "float")]
    return Dataset("events", push(), event_time="at", contract=contract, **options)


def known_hours(view, labels):
    moment = pa.timestamp("us", tz="UTC")
    hours = [START + timedelta(hours=hour) for hour in range(4)]
    arrived = [START + timedelta(hours=hour, minutes=30) for hour in range(4)]
    table = pa.table(
        {"who": list("abab"), "at": pa.array(hours, moment), "y": [1.0] * 4, "_arrived_at": pa.array(arrived, moment)}
    )
    with connect() as connection:
        connection.register("events", table)
        rows = DuckSession(connection).compute(view, labels)
        found = connection.sql(f'SELECT epoch_us(__known_at__) FROM "{rows.join.table}" ORDER BY 1').fetchall()
    return [(micros / 1e6 - START.timestamp()) / 3600 for (micros,) in found], rows


def test_what_cannot_be_followed_counts_from_the_largest_delay_and_says_so():
    events = dataset()
    view = feature_view(lambda events: events.limit(100).drop("_arrived_at"), events, entity="who", name="v")
    hours, rows = known_hours(view, [label(events.y, arrives_after="2h")])
    assert hours == [2, 3, 4, 5]
    assert rows.warnings == (
        "View 'v': availability cannot be followed through Limit; its rows count from 2h after their event time.",
    )
    assert [field.name for field in rows.fields] == ["y"]
    assert not rows.join.in_order


def test_a_view_may_say_itself_when_its_rows_arrived():
    events = dataset(arrival_time="_arrived")
    view = feature_view(lambda events: events.limit(100), events, entity="who", name="v")
    hours, rows = known_hours(view, [])
    assert hours == [0.5, 1.5, 2.5, 3.5]
    assert "count from their _arrived_at" in rows.warnings[0]
    hours, _ = known_hours(view, [label(events.y, arrives_after="2h")])
    assert hours == [2, 3, 4, 5]


def test_late_data_that_cannot_be_followed_is_refused():
    events = dataset(arrival_time="_arrived")
    view = feature_view(lambda events: events.limit(100).drop("_arrived_at"), events, entity="who", name="v")
    with pytest.raises(FeatureError, match="whose rows arrive late, through Limit"):
        known_hours(view, [])


def test_a_prompt_view_is_in_order():
    events = dataset()
    view = feature_view(lambda events: events.select("who", "at", "y"), events, entity="who", name="a view's name")
    hours, rows = known_hours(view, [])
    assert hours == [0, 1, 2, 3]
    assert rows.join.in_order
    assert rows.warnings == ()
