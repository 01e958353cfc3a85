from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.storage.duck import connect
from loopwright.features.join import JoinView, first_duplicate, point_in_time, rows_in_order

START = datetime(2026, 1, 1, tzinfo=UTC)
MOMENT = pa.timestamp("us", tz="UTC")
ENTITIES = st.sampled_from(["a", "b", None])
ONE = connect()  # opening one takes longer than a query
SECONDS = st.integers(0, 12)

rows_of_views = st.lists(
    st.tuples(ENTITIES, st.one_of(st.none(), SECONDS), st.integers(0, 5), st.sampled_from([None, 1.0, 2.0, 3.0])),
    max_size=25,
)
rows_of_examples = st.lists(st.tuples(ENTITIES, st.one_of(st.none(), SECONDS)), max_size=12)
ttls = st.one_of(st.none(), st.integers(1, 8))


def at(second):
    return None if second is None else START + timedelta(seconds=second)


def load(connection, name, columns):
    table = pa.table(columns)
    connection.register(f"{name}_arrow", table)
    connection.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM {name}_arrow")


def load_view(connection, rows, name="v", feature="f"):
    load(
        connection,
        name,
        {
            "entity": pa.array([row[0] for row in rows], pa.string()),
            "event_time": pa.array([at(row[1]) for row in rows], MOMENT),
            "known_at": pa.array([None if row[1] is None else at(row[1] + row[2]) for row in rows], MOMENT),
            feature: pa.array([row[3] for row in rows], pa.float64()),
        },
    )


def load_examples(connection, examples):
    load(
        connection,
        "x",
        {
            "row": pa.array(range(len(examples)), pa.int64()),
            "entity": pa.array([example[0] for example in examples], pa.string()),
            "t": pa.array([at(example[1]) for example in examples], MOMENT),
        },
    )


def view_of(ttl, name="v", feature="f"):
    return JoinView(
        name,
        ("entity",),
        ("entity",),
        "event_time",
        "known_at",
        (feature,),
        None if ttl is None else timedelta(seconds=ttl),
    )


def as_known_at(rows, entity, second, ttl):
    """The definition, word by word."""
    if entity is None or second is None:
        return None
    known = [row for row in rows if row[0] == entity and row[1] is not None and row[1] + row[2] <= second]
    if not known:
        return None
    best = max(known, key=lambda row: (row[1], row[1] + row[2], -np.inf if row[3] is None else row[3]))
    return best[3] if ttl is None or best[1] > second - ttl else None


@settings(max_examples=80, deadline=None)
@given(rows_of_views, rows_of_examples, ttls)
def test_equals_the_definition(rows, examples, ttl):
    with ONE.cursor() as connection:
        load_view(connection, rows)
        load_examples(connection, examples)
        sql = point_in_time(connection, "x", [view_of(ttl)], time="t", columns=("row",), order="row")
        found = connection.sql(sql).fetchall()
    assert [row for row, _ in found] == list(range(len(examples)))
    assert [value for _, value in found] == [as_known_at(rows, entity, second, ttl) for entity, second in examples]


@settings(max_examples=25, deadline=None)
@given(rows_of_views, rows_of_views, rows_of_examples, ttls)
def test_several_views_do_not_touch_each_other(first, second, examples, ttl):
    with ONE.cursor() as connection:
        load_view(connection, first)
        load_view(connection, second, "w", "g")
        load_examples(connection, examples)
        views = [view_of(ttl), view_of(None, "w", "g")]
        found = connection.sql(
            point_in_time(connection, "x", views, time="t", columns=("row",), order="row")
        ).fetchall()
    assert found == [
        (index, as_known_at(first, entity, moment, ttl), as_known_at(second, entity, moment, None))
        for index, (entity, moment) in enumerate(examples)
    ]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50)), unique=True, max_size=40),
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 50)), min_size=1, max_size=20),
)
def test_equals_merge_asof_where_rows_are_known_at_their_event_time(keys, examples):
    rows = [(entity, second, 0, float(index)) for index, (entity, second) in enumerate(keys)]
    with ONE.cursor() as connection:
        load_view(connection, rows)
        load_examples(connection, examples)
        assert rows_in_order(connection, view_of(None))
        sql = point_in_time(connection, "x", [view_of(None)], time="t", columns=("row",), order="row")
        ours = [value for _, value in connection.sql(sql).fetchall()]
    left = pd.DataFrame(
        {"row": range(len(examples)), "entity": [e for e, _ in examples], "t": [s for _, s in examples]}
    )
    right = pd.DataFrame(
        {
            "entity": pd.array([row[0] for row in rows], dtype="str"),
            "t": np.array([row[1] for row in rows], np.int64),
            "f": np.array([row[3] for row in rows], np.float64),
        }
    )
    theirs = pd.merge_asof(left.sort_values("t"), right.sort_values("t"), on="t", by="entity").sort_values("row")["f"]
    np.testing.assert_array_equal(np.array(ours, np.float64), theirs.to_numpy())


def test_keys_of_two_columns_and_other_names():
    with ONE.cursor() as connection:
        connection.execute(
            "CREATE OR REPLACE TABLE x AS SELECT 0 AS row, 1 AS a, 'p' AS b, TIMESTAMPTZ '2026-01-01 00:00:05+00' AS t"
        )
        connection.execute(
            "CREATE OR REPLACE TABLE v AS SELECT unnest([1, 1, 2]) AS k, unnest(['p', 'q', 'p']) AS l, "
            "unnest([1, 2, 3]) AS f, "
            "TIMESTAMPTZ '2026-01-01' AS event_time, TIMESTAMPTZ '2026-01-01' AS known_at"
        )
        view = JoinView("v", ("k", "l"), ("a", "b"), "event_time", "known_at", ("f",))
        assert connection.sql(point_in_time(connection, "x", [view], time="t", columns=("row",))).fetchall() == [(0, 1)]


def test_names_the_first_duplicate():
    with ONE.cursor() as connection:
        load_view(connection, [("a", 1, 0, 1.0), ("b", 2, 0, 1.0), ("b", 2, 1, 1.0), ("b", 2, 1, 2.0)])
        assert first_duplicate(connection, view_of(None)) == (
            "b",
            "2026-01-01 00:00:02+00",
            "2026-01-01 00:00:03+00",
            "2",
        )
        load_view(connection, [("a", 1, 0, 1.0), ("a", 1, 1, 1.0), (None, 1, 1, 1.0), (None, 1, 1, 1.0)])
        assert first_duplicate(connection, view_of(None)) is None


@pytest.mark.parametrize("views", [[], ["v"]])
def test_no_examples_give_no_rows(views):
    with ONE.cursor() as connection:
        load_view(connection, [("a", 1, 0, 1.0)])
        load_examples(connection, [])
        sql = point_in_time(connection, "x", [view_of(None) for _ in views], time="t", columns=("row",), order="row")
        assert connection.sql(sql).fetchall() == []
